// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/rundir"
)

// HostView is /proc as the front end sees it. The monitor is pid 1 of a pid
// namespace of its own; what it writes down has to be in the pids that every
// other command of the user can look up.
type HostView struct{ dir *os.File }

// NewHostView takes a descriptor of that /proc; nil: /proc is the host's.
func NewHostView(dir *os.File) HostView { return HostView{dir} }

// Self is the monitor's own pid and start time out there.
func (h HostView) Self() (pid int, start uint64) {
	if h.dir == nil {
		pid = os.Getpid()
	} else {
		buf := make([]byte, 32)
		n, err := unix.Readlinkat(int(h.dir.Fd()), "self", buf)
		if err != nil {
			return 0, 0
		}
		pid, _ = strconv.Atoi(string(buf[:n]))
	}
	return pid, h.StartTime(pid)
}

// Child translates the pid of a child of ours that nobody has reaped yet. The
// kernel tells it with a pidfd, in the numbers of the /proc that is asked. A search
// through task/*/children would miss it at times: a child belongs to the thread that
// forked it, and moves to another one when that thread ends.
func (h HostView) Child(inner int) (pid int, start uint64) {
	if h.dir == nil {
		return inner, h.StartTime(inner)
	}
	fd, err := unix.PidfdOpen(inner, 0)
	if err != nil {
		return 0, 0
	}
	defer unix.Close(fd)
	for line := range strings.Lines(string(h.read("self/fdinfo/" + strconv.Itoa(fd)))) {
		if rest, ok := strings.CutPrefix(line, "Pid:"); ok {
			if pid, err = strconv.Atoi(strings.TrimSpace(rest)); err != nil || pid <= 0 {
				return 0, 0
			}
			return pid, h.StartTime(pid)
		}
	}
	return 0, 0
}

// StartTime is rundir.StartTime out there; 0: unknown.
func (h HostView) StartTime(pid int) uint64 {
	if pid <= 0 {
		return 0
	}
	start, _ := rundir.ParseStart(h.read(strconv.Itoa(pid) + "/stat"))
	return start
}

func (h HostView) Open(name string, flags int) (*os.File, error) {
	if h.dir == nil {
		return os.OpenFile("/proc/"+name, os.O_RDONLY|flags, 0)
	}
	fd, err := unix.Openat(int(h.dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (h HostView) read(name string) []byte {
	f, err := h.Open(name, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	buf := make([]byte, 2048) // more than any of these files is long
	n := 0
	for n < len(buf) {
		k, err := f.Read(buf[n:])
		n += k
		if err != nil || k == 0 {
			break
		}
	}
	return buf[:n]
}
