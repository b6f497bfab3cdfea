// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/initprog"
)

// A health check that runs into its timeout is killed with everything that it
// has started, and nothing of it stays as a zombie: those count against the
// container's limit of processes, and its process 1 may be one that never waits.
//
// The check therefore runs below a process that adopts the orphans and waits for
// them: the program of --init, which no image has. It comes as a sealed memory
// file, descriptor 3, and is executed through /proc/self/fd. The same file is the
// mark by which Init sees that the process is to adopt orphans. That is an
// attribute that survives execve(2), and that only the process itself can set.
//
// Where there is no such program, or it cannot be executed, the check itself
// adopts the orphans: they are found and killed, but may remain as zombies.

const (
	markFD    = 3
	markSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
)

// adoptionMark is the mark, with the program in it where there is one.
func adoptionMark() (*os.File, error) {
	program, err := initprog.Program()
	if err != nil {
		return nil, err
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("init", flags|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("init", flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "init")
	if _, err := f.Write(program); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, markSeals); err != nil {
		f.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	return f, nil
}

// adoptWhereMarked is for Init. The program does not inherit the mark.
func adoptWhereMarked() {
	if seals, err := unix.FcntlInt(markFD, unix.F_GET_SEALS, 0); err == nil && seals == markSeals {
		unix.CloseOnExec(markFD)
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
}

// belowReaper is the command that runs args below the program of the mark.
func belowReaper(args []string) []string {
	return append([]string{"/proc/self/fd/" + strconv.Itoa(markFD), "--"}, args...)
}

// reaperRefused says that the program of the mark could not execute the command.
func reaperRefused(code int, output string) bool {
	return (code == 126 || code == 127) && strings.HasPrefix(output, `init: cannot run "`)
}

// reapTime is how long the reaper may take for what has been killed.
const reapTime = time.Second

// killTree kills all that descend from a process that adopts orphans, and then
// the process, or with reaps lets it wait for them, after which it ends. It is
// stopped meanwhile: the others are found by it.
func killTree(top *process, reaps bool) {
	top.signalExactly(unix.SIGSTOP)
	for range 100 { // processes that are starting others are found at the next look
		all := descendants(top.pid)
		if len(all) == 0 {
			break
		}
		for pid, start := range all {
			killIfSame(pid, start)
		}
		time.Sleep(2 * time.Millisecond)
	}
	if reaps {
		top.signalExactly(unix.SIGCONT)
		top.await(reapTime)
	}
	top.signalExactly(unix.SIGKILL)
}

// signalExactly sends a signal to the process, and to no later one with its number.
func (p *process) signalExactly(sig unix.Signal) {
	if p.pidfd == nil {
		_ = p.p.Signal(sig)
		return
	}
	if raw, err := p.pidfd.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	}
}

// await waits for the end of the process, without taking its status.
func (p *process) await(limit time.Duration) {
	if p.pidfd == nil {
		return
	}
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return
	}
	end := time.Now().Add(limit)
	_ = raw.Control(func(fd uintptr) {
		for left := limit; left > 0; left = time.Until(end) {
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1); err != unix.EINTR {
				return
			}
		}
	})
}

// descendants are the living processes below top, with their start times.
func descendants(top int) map[int]uint64 {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	type proc struct {
		parent int
		start  uint64
		dead   bool
	}
	procs := map[int]proc{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		f := statFields(hostView{}.read(e.Name() + "/stat"))
		if len(f) < 20 {
			continue
		}
		parent, _ := strconv.Atoi(f[1])
		start, _ := strconv.ParseUint(f[19], 10, 64)
		procs[pid] = proc{parent, start, f[0] == "Z" || f[0] == "X"}
	}
	found := map[int]uint64{}
	for pid, p := range procs {
		if p.dead || pid == top {
			continue
		}
		for up, n := p.parent, 0; up > 0 && n < len(procs); up, n = procs[up].parent, n+1 {
			if up == top {
				found[pid] = p.start
				break
			}
		}
	}
	return found
}

// killIfSame kills the process that had this pid when it was looked at.
func killIfSame(pid int, start uint64) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if (hostView{}).startTime(pid) == start {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}
