// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/rundir"
)

// hostView is /proc as the front end sees it. The monitor is pid 1 of a pid
// namespace of its own; what it writes down has to be in the pids that every
// other command of the user can look up.
type hostView struct{ dir *os.File }

// self is the monitor's own pid and start time out there.
func (h hostView) self() (pid int, start uint64) {
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
	return pid, h.startTime(pid)
}

// child translates the pid of a child of ours.
func (h hostView) child(inner int) (pid int, start uint64) {
	if h.dir == nil {
		return inner, h.startTime(inner)
	}
	want := strconv.Itoa(inner)
	for _, host := range h.children() {
		ids := h.nsPIDs(host)
		// One number per pid namespace, from that /proc's to the innermost:
		// ours is the second, a container's own the third.
		if len(ids) >= 2 && ids[1] == want || len(ids) == 1 && ids[0] == want {
			pid, _ = strconv.Atoi(host)
			return pid, h.startTime(pid)
		}
	}
	return 0, 0
}

func (h hostView) children() []string {
	// A child belongs to the thread that forked it.
	self, _ := h.self()
	base := strconv.Itoa(self) + "/task"
	dir, err := h.open(base, unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	defer dir.Close()
	tasks, _ := dir.Readdirnames(-1)
	var all []string
	for _, t := range tasks {
		all = append(all, strings.Fields(string(h.read(base+"/"+t+"/children")))...)
	}
	return all
}

func (h hostView) nsPIDs(pid string) []string {
	for _, line := range strings.Split(string(h.read(pid+"/status")), "\n") {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

// startTime is rundir.StartTime out there; 0: unknown.
func (h hostView) startTime(pid int) uint64 {
	if pid <= 0 {
		return 0
	}
	start, _ := rundir.ParseStart(h.read(strconv.Itoa(pid) + "/stat"))
	return start
}

func (h hostView) open(name string, flags int) (*os.File, error) {
	if h.dir == nil {
		return os.OpenFile("/proc/"+name, os.O_RDONLY|flags, 0)
	}
	fd, err := unix.Openat(int(h.dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (h hostView) read(name string) []byte {
	f, err := h.open(name, 0)
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
