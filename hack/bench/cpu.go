// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuRounds and cpuRuns are how often CPU time is read, and for how many runs at
// once: the clock of a process that lives on counts in hundredths of a second.
const (
	cpuRounds = 7
	cpuRuns   = 10
)

// cpu is the CPU time of one run of each column: of the command, of everything it
// started, and of the user's monitors that live on. It holds on a busy machine,
// where the time on the clock does not.
func (b *bench) cpu(cols ...timed) ([]time.Duration, error) {
	// Whatever a command leaves in the background becomes a child of this process,
	// and counts when it ends.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot become the reaper of orphans: %w", err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	return medians(cpuRounds, cols, cpuOf)
}

func cpuOf(col timed) (time.Duration, error) {
	before, err := usage()
	if err != nil {
		return 0, err
	}
	for range cpuRuns {
		if _, err := col.peer.once(col.args...); err != nil {
			return 0, err
		}
	}
	reapOrphans()
	after, err := usage()
	return (after - before) / cpuRuns, err
}

// reapOrphans waits, for two seconds at most, until this process has no children.
func reapOrphans() {
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err == unix.ECHILD {
			return
		}
		if pid == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// usage is the CPU time of all children that ended, and of the living monitors.
func usage() (time.Duration, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &r); err != nil {
		return 0, err
	}
	total := time.Duration(r.Utime.Nano() + r.Stime.Nano())
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		total += monitorTime(dir)
	}
	return total, nil
}

// monitorTime is the CPU time of a process of this user, of its children that
// ended, too; 0 for all but monitors. See proc_pid_stat(5).
func monitorTime(dir string) time.Duration {
	data, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0
	}
	name, rest, _ := strings.Cut(string(data), ") ")
	_, name, _ = strings.Cut(name, "(")
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil || int(st.Uid) != os.Getuid() || name != "proa-monitor" && name != "conmon" {
		return 0
	}
	const ticks = 100 // per second: what the kernel tells to all programs
	var sum int64
	if f := strings.Fields(rest); len(f) > 14 {
		for _, v := range f[11:15] {
			n, _ := strconv.ParseInt(v, 10, 64)
			sum += n
		}
	}
	return time.Duration(sum) * time.Second / ticks
}

// cpuLimit reports CPU time against an absolute goal.
func (b *bench) cpuLimit(row string, own, limit time.Duration) {
	b.report(row, "<= "+ms(limit), ms(own), own <= limit)
}
