// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/initprog"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/process"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
)

// Docker's defaults and bounds of health checks.
const (
	healthInterval      = 30 * time.Second
	healthTimeout       = 30 * time.Second
	healthStartInterval = 5 * time.Second
	healthRetries       = 3
	healthKept          = 5    // probes in the status
	healthOutput        = 4096 // bytes kept of a probe's output
	// healthRest is how many times as long as the start of a probe took the
	// monitor rests after it: that work is not under the container's limits, and
	// an image says how often it is done.
	healthRest = 4
)

const (
	healthStarting  = "starting"
	healthHealthy   = "healthy"
	healthUnhealthy = "unhealthy"
)

// healthCheck is a check with the defaults filled in.
func healthCheck(h *spec.Health) spec.Health {
	c := *h
	for _, d := range []struct {
		to  *time.Duration
		def time.Duration
	}{{&c.Interval, healthInterval}, {&c.Timeout, healthTimeout}, {&c.StartInterval, healthStartInterval}} {
		if *d.to <= 0 {
			*d.to = d.def
		}
	}
	if c.Retries <= 0 {
		c.Retries = healthRetries
	}
	return c
}

// judge adds a probe to what is known, as Docker does: the first success ends
// the starting phase, failures before its end do not count, and as many
// failures in a row as there are retries mean unhealthy.
func judge(st monitor.HealthStatus, p monitor.HealthProbe, inStart bool, retries int) monitor.HealthStatus {
	st.Log = append(append([]monitor.HealthProbe(nil), st.Log...), p)
	if n := len(st.Log); n > healthKept {
		st.Log = st.Log[n-healthKept:]
	}
	switch {
	case p.ExitCode == 0:
		st.Status, st.FailingStreak = healthHealthy, 0
	case inStart && st.Status == healthStarting:
	default:
		st.FailingStreak++
		if st.FailingStreak >= retries {
			st.Status = healthUnhealthy
		}
	}
	return st
}

// watchHealth probes one run of the container until it ends.
func (s *supervisor) watchHealth(r *run) {
	if s.cfg.Health == nil {
		return
	}
	c := healthCheck(s.cfg.Health)
	st := monitor.HealthStatus{Status: healthStarting} // as begin has said
	started, cost := time.Now(), time.Duration(0)
	for {
		inStart := time.Since(started) < c.StartPeriod
		wait := c.Interval
		if inStart && st.Status == healthStarting {
			wait = min(c.StartInterval, c.Interval)
		}
		select {
		case <-r.done:
			return
		case <-time.After(max(wait, healthRest*cost)):
		}
		if s.snapshot().State != rundir.StateRunning {
			continue // paused
		}
		var p monitor.HealthProbe
		p, cost = s.probe(r, &c)
		select {
		case <-r.done:
			return // what it says of a container that is going means nothing
		default:
		}
		st = judge(st, p, time.Since(started) < c.StartPeriod, c.Retries)
		s.setHealth(r, st)
	}
}

func (s *supervisor) setHealth(r *run, st monitor.HealthStatus) {
	if s.current() == r {
		s.update(func(now *monitor.Status) { now.Health = &st })
	}
}

// probe runs the check once. cost is how long its start kept the monitor busy.
func (s *supervisor) probe(r *run, c *spec.Health) (p monitor.HealthProbe, cost time.Duration) {
	p.Start = time.Now().UTC()
	code, out, cost, err := s.runProbe(r, c)
	if err != nil {
		code, out = -1, err.Error()
	}
	p.End, p.ExitCode, p.Output = time.Now().UTC(), code, out
	s.stirred()
	return p, cost
}

func (s *supervisor) runProbe(r *run, c *spec.Health) (code int, output string, cost time.Duration, err error) {
	begin := time.Now()
	ours, out, err := process.Pipe(true)
	if err != nil {
		return 0, "", time.Since(begin), err
	}
	defer ours.Close()
	proc, reaps, err := s.startProbe(r, healthCommand(c.Test), out)
	if err != nil {
		return 0, "", time.Since(begin), err
	}
	cost = time.Since(begin)
	text := make(chan string, 1)
	go func() { text <- readProbe(ours) }()
	killed := make(chan struct{})
	late := time.AfterFunc(c.Timeout, func() {
		process.KillTree(proc, reaps)
		close(killed)
	})
	code, signal := proc.Wait()
	timedOut := !late.Stop()
	if timedOut {
		<-killed // the process's number is free for others only now
	}
	timedOut = timedOut && (signal != 0 || reaps && code == 128+int(unix.SIGKILL))
	s.reap.Forget(proc.Pid)
	// A child that it left behind may keep the pipe open for ever.
	_ = ours.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	output = <-text
	if timedOut {
		return -1, fmt.Sprintf("Health check exceeded timeout (%v)", c.Timeout), cost, nil
	}
	if reaps && process.ReaperRefused(code, output) {
		if err := s.execExplain(r, proc, healthCommand(c.Test)); err != nil {
			return 0, "", cost, err
		}
	}
	return code, output, cost, nil
}

// startProbe starts a check that prints to out, which it closes: below a process that
// reaps, or where that is not to be had, by itself.
func (s *supervisor) startProbe(r *run, args []string, out *os.File) (p *process.Process, reaps bool, err error) {
	defer out.Close()
	start := func(args []string) (*process.Process, error) {
		fds, err := probeStreams(out)
		if err != nil {
			return nil, err
		}
		mark, err := process.AdoptionMark()
		if err != nil {
			process.CloseFiles(fds...)
			return nil, err
		}
		p, err := s.startExec(r, &monitor.ExecRequest{Args: args}, fds, mark)
		if err != nil {
			process.CloseFiles(append(fds, mark)...) // again, where it was far enough
		}
		return p, err
	}
	if initprog.Available() {
		if p, err := start(process.BelowReaper(args)); err == nil {
			return p, true, nil
		}
	}
	p, err = start(args)
	return p, false, err
}

// probeStreams are a probe's three descriptors; the callee closes each, but not out.
func probeStreams(out *os.File) ([]*os.File, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	fds := []*os.File{null}
	for range 2 {
		fd, err := unix.FcntlInt(out.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			process.CloseFiles(fds...)
			return nil, os.NewSyscallError("dup", err)
		}
		fds = append(fds, os.NewFile(uintptr(fd), "stdio"))
	}
	return fds, nil
}

// readProbe keeps the beginning of the output and drops the rest, so that the
// check never waits for a reader.
func readProbe(f *os.File) string {
	var b strings.Builder
	_, err := io.CopyN(&b, f, healthOutput)
	if err == nil {
		_, _ = io.Copy(io.Discard, f)
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

// healthCommand is the command of a check in Docker's form.
func healthCommand(test []string) []string {
	if len(test) > 1 && test[0] == "CMD-SHELL" {
		return append([]string{"/bin/sh", "-c"}, test[1:]...)
	}
	if len(test) > 0 && test[0] == "CMD" {
		return test[1:]
	}
	return test
}
