// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A health check that runs into its timeout is killed with everything that it
// has started. Its processes are found by their parents. For that its first
// process adopts the orphans below it, which would go to the container's
// process 1 otherwise, by an attribute that survives execve(2) but that only
// the process itself can set: Init does so when it finds the mark, a sealed
// memory file that is handed over as descriptor 3.

// markSeals is no combination that anybody else uses.
const markSeals = unix.F_SEAL_SEAL | unix.F_SEAL_GROW

func adoptionMark() (*os.File, error) {
	fd, err := unix.MemfdCreate("adopt", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, markSeals); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "adopt"), nil
}

// adoptWhereMarked is for Init. The program does not inherit the mark.
func adoptWhereMarked() {
	const mark = 3
	if seals, err := unix.FcntlInt(mark, unix.F_GET_SEALS, 0); err == nil && seals == markSeals {
		unix.CloseOnExec(mark)
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
}

// killTree kills a process that adopts orphans, and all that descend from it.
// The process itself is stopped first and killed last: until then it is what
// the others are found by.
func killTree(top *process) {
	_ = top.p.Signal(unix.SIGSTOP)
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
	_ = top.p.Signal(unix.SIGKILL)
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
