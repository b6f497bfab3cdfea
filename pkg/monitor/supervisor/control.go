// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
)

var errNotRunning = errs.New(errs.State, "container is not running")

// kill sends a signal to the process. One that is meant to end it counts as
// the user's wish, as in Docker: SIGKILL and the container's stop signal.
func (s *supervisor) kill(sig int) error {
	if sig < 1 || sig > 64 {
		return errs.New(errs.Invalid, "signal %d is not known", sig)
	}
	r := s.current()
	if r == nil {
		if s.snapshot().State == rundir.StateRestarting {
			s.noRestart(true)
			return nil
		}
		return errNotRunning
	}
	if sig == int(unix.SIGKILL) || sig == stopSignal(s.cfg.StopSignal) {
		s.noRestart(true)
	}
	if sig == int(unix.SIGKILL) {
		s.thaw(r)
	}
	if err := r.Process.Signal(sig); err != nil {
		return errNotRunning
	}
	return nil
}

// stopSignal reads "SIGTERM", "TERM" or "15"; what it cannot read is SIGTERM.
func stopSignal(name string) int {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n <= 64 {
		return n
	}
	name = strings.ToUpper(name)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if rest, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		off, _ := strconv.Atoi(strings.TrimPrefix(rest, "+"))
		return 34 + off
	}
	if n := unix.SignalNum(name); n != 0 {
		return int(n)
	}
	return int(unix.SIGTERM)
}

// freeze pauses or resumes every process of the container.
func (s *supervisor) freeze(on bool) error {
	r := s.current()
	if r == nil {
		return errNotRunning
	}
	paused := s.snapshot().State == rundir.StatePaused
	switch {
	case on && paused:
		return errs.New(errs.State, "container is already paused")
	case !on && !paused:
		return errs.New(errs.State, "container is not paused")
	case !hasFreezer(r.c):
		return errs.WithHint(errs.New(errs.Unsupported, "cannot pause: this container has no cgroup of its own to freeze"),
			"let systemd delegate cgroups (version 2) to your user, then start the container again")
	}
	state := rundir.StateRunning
	op := r.c.Resume
	if on {
		state, op = rundir.StatePaused, r.c.Pause
	}
	if err := op(); err != nil {
		return errs.Wrap(err, "pause or resume container", s.cfg.Name)
	}
	s.update(func(st *monitor.Status) { st.State = state })
	return nil
}

func hasFreezer(c *libcontainer.Container) bool {
	st, err := c.State()
	if err != nil {
		return false
	}
	if st.CgroupPaths["freezer"] != "" {
		return true
	}
	// libcontainer names a path even where it was not allowed to make it.
	dir := st.CgroupPaths[""]
	return dir != "" && unix.Access(filepath.Join(dir, "cgroup.freeze"), unix.W_OK) == nil
}

// thaw lets a paused container hear a signal.
func (s *supervisor) thaw(r *run) {
	if s.snapshot().State != rundir.StatePaused {
		return
	}
	if r.c.Resume() == nil {
		s.update(func(st *monitor.Status) { st.State = rundir.StateRunning })
	}
}
