// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
)

// Top lists the processes of a running container as ps(1) prints them; args
// are ps options, empty: "-ef".
func (e *Engine) Top(ctx context.Context, ref string, args []string) (titles []string, rows [][]string, err error) {
	c, err := e.loadRunning(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	pids, err := c.pids()
	if err != nil {
		return nil, nil, err
	}
	if len(args) == 0 {
		args = []string{"-ef"}
	}
	out, err := exec.CommandContext(ctx, "ps", args...).Output()
	if err != nil {
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			return nil, nil, errs.New(errs.Invalid, "ps %s: %s", strings.Join(args, " "), strings.TrimSpace(string(ee.Stderr)))
		}
		return nil, nil, errs.WithHint(errs.Wrap(err, "list processes", ""), "install ps: apt-get install procps")
	}
	return parsePS(string(out), pids)
}

// parsePS keeps the rows of ps's output whose PID is wanted.
func parsePS(out string, pids map[int]bool) (titles []string, rows [][]string, err error) {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	titles = strings.Fields(lines[0])
	col := slices.Index(titles, "PID")
	if col < 0 {
		return nil, nil, errs.WithHint(errs.New(errs.Invalid, "Couldn't find PID field in ps output"), "add pid to the columns: -o pid,...")
	}
	for _, l := range lines[1:] {
		f := strings.Fields(l)
		if len(f) <= col {
			continue
		}
		pid, err := strconv.Atoi(f[col])
		if err != nil || !pids[pid] {
			continue
		}
		if n := len(titles); len(f) > n {
			f = append(f[:n-1:n-1], strings.Join(f[n-1:], " ")) // the command may hold blanks
		}
		rows = append(rows, f)
	}
	return titles, rows, nil
}

// pids are the container's processes in the host's pid namespace: those in the
// mount namespace of its main process, which no container shares, and all below
// them. The pid namespace may be the host's or another container's.
func (c *container) pids() (map[int]bool, error) {
	if c.status == nil || c.status.PID == 0 {
		return nil, notRunning(c.Container)
	}
	want, err := os.Readlink("/proc/" + itoa(c.status.PID) + "/ns/mnt")
	if err != nil {
		return nil, notRunning(c.Container)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	parents, pids := map[int]int{}, map[int]bool{}
	for _, d := range entries {
		n, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if ns, err := os.Readlink("/proc/" + d.Name() + "/ns/mnt"); err == nil && ns == want {
			pids[n] = true
		}
		if stat, err := os.ReadFile("/proc/" + d.Name() + "/stat"); err == nil {
			if f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])); len(f) > 1 {
				parents[n] = int(atou(f[1]))
			}
		}
	}
	addDescendants(pids, parents)
	return pids, nil
}

// addDescendants adds the processes that have one of pids above them.
func addDescendants(pids map[int]bool, parents map[int]int) {
	for n := range parents {
		for up, steps := parents[n], 0; up > 0 && steps <= len(parents); up, steps = parents[up], steps+1 {
			if pids[up] {
				pids[n] = true
				break
			}
		}
	}
}

// Stats is one sample of what a running container uses.
type Stats struct {
	ID, Name         string
	Time             time.Time
	CPU              time.Duration // consumed since the start
	Memory           uint64        // bytes, without reclaimable page cache
	MemoryLimit      uint64        // bytes; the host's memory without a limit
	NetRx, NetTx     uint64        // bytes
	BlockRead, Write uint64        // bytes
	Pids             uint64
	PidsLimit        uint64 // 0: none
}

// Stats takes one sample of a running container, from its processes: that
// works where the host gives the user no cgroup. What processes have used that
// are gone is not counted.
func (e *Engine) Stats(ctx context.Context, ref string) (*Stats, error) {
	c, err := e.loadRunning(ctx, ref)
	if err != nil {
		return nil, err
	}
	pids, err := c.pids()
	if err != nil {
		return nil, err
	}
	s := &Stats{ID: c.ID, Name: c.Name, Time: time.Now(), MemoryLimit: hostMemory()}
	for pid := range pids {
		s.addProcess(pid)
	}
	s.addNetwork(c.status.PID)
	return s, nil
}

func (s *Stats) addProcess(pid int) {
	base := "/proc/" + itoa(pid) + "/"
	stat, err := os.ReadFile(base + "stat")
	if err != nil {
		return
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(f) < 22 {
		return
	}
	const tick = time.Second / 100 // USER_HZ
	s.Pids += atou(f[17])          // threads
	s.CPU += time.Duration(atou(f[11])+atou(f[12])) * tick
	s.Memory += atou(f[21]) * uint64(os.Getpagesize())
	io, _ := os.ReadFile(base + "io")
	for line := range strings.Lines(string(io)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch k {
		case "read_bytes":
			s.BlockRead += atou(v)
		case "write_bytes":
			s.Write += atou(v)
		}
	}
}

func (s *Stats) addNetwork(pid int) {
	dev, _ := os.ReadFile("/proc/" + itoa(pid) + "/net/dev")
	for line := range strings.Lines(string(dev)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 9 || strings.TrimSpace(name) == "lo" {
			continue
		}
		s.NetRx += atou(f[0])
		s.NetTx += atou(f[8])
	}
}

func atou(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}
