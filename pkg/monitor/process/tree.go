// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/initprog"
	"github.com/proa-containers/proa/pkg/rundir"
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

// AdoptionMark is the mark, with the program in it where there is one.
func AdoptionMark() (*os.File, error) {
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

// BelowReaper is the command that runs args below the program of the mark.
func BelowReaper(args []string) []string {
	return append([]string{"/proc/self/fd/" + strconv.Itoa(markFD), "--"}, args...)
}

// ReaperRefused says that the program of the mark could not execute the command.
func ReaperRefused(code int, output string) bool {
	return (code == 126 || code == 127) && strings.HasPrefix(output, `init: cannot run "`)
}

// reapTime is how long the reaper may take for what has been killed.
const reapTime = time.Second

// KillTree kills all that descend from a process that adopts orphans, and then
// the process, or with reaps lets it wait for them, after which it ends. It is
// stopped meanwhile: the others are found by it.
func KillTree(top *Process, reaps bool) {
	start := (HostView{}).StartTime(top.Pid)
	if top.signalExactly(unix.SIGSTOP) != nil {
		return // it has ended just now, and another process may have its number
	}
	for range 100 { // processes that are starting others are found at the next look
		all := descendants(top.Pid, start)
		if len(all) == 0 {
			break
		}
		for pid, start := range all {
			killIfSame(pid, start)
		}
		time.Sleep(2 * time.Millisecond)
	}
	if reaps {
		_ = top.signalExactly(unix.SIGCONT)
		top.await(reapTime)
	}
	_ = top.signalExactly(unix.SIGKILL)
}

// KillStrays kills what a container with --pid host leaves behind when its process 1
// ends: no pid namespace ends with it, and there may be no control group. What the
// monitor itself has started is in its own mount namespace.
func KillStrays() {
	self := os.Getpid()
	if self == 1 {
		return
	}
	start := (HostView{}).StartTime(self)
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return
	}
	for range 100 { // as in killTree
		left := false
		for pid, start := range descendants(self, start) {
			if ns, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/mnt"); err == nil && ns != own {
				killIfSame(pid, start)
				left = true
			}
		}
		if !left {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// signalExactly sends a signal to the process, and to no later one with its number.
func (p *Process) signalExactly(sig unix.Signal) error {
	if p.pidfd == nil {
		return p.P.Signal(sig)
	}
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	return errors.Join(cerr, err)
}

// await waits for the end of the process, without taking its status.
func (p *Process) await(limit time.Duration) {
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

// descendants are the living processes below top, which began at start, with their
// start times.
func descendants(top int, start uint64) map[int]uint64 {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	procs := map[int]proc{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		f := rundir.StatFields(HostView{}.read(e.Name() + "/stat"))
		if len(f) < 20 {
			continue
		}
		parent, _ := strconv.Atoi(f[1])
		start, _ := strconv.ParseUint(f[19], 10, 64)
		procs[pid] = proc{parent, start, f[0] == "Z" || f[0] == "X"}
	}
	return below(procs, top, start)
}

// proc is a process at the time when it was looked at.
type proc struct {
	parent int
	start  uint64
	dead   bool
}

// below finds the living processes below top. The list was read while processes came
// and went, so that a number in it may stand for two of them. Hence the start times: a
// parent is never younger than its child.
func below(procs map[int]proc, top int, start uint64) map[int]uint64 {
	found := map[int]uint64{}
	if t, ok := procs[top]; !ok || t.start != start {
		return found // something in the container has killed it
	}
	for pid, p := range procs {
		child := p
		for range len(procs) {
			up, ok := procs[child.parent]
			if p.dead || !ok || up.start > child.start {
				break
			}
			if child.parent == top {
				found[pid] = p.start
				break
			}
			child = up
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
	if (HostView{}).StartTime(pid) == start {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}
