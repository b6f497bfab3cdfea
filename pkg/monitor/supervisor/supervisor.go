// SPDX-License-Identifier: Apache-2.0

// Package supervisor is the monitor's work: it sets one container up, runs its
// process, serves its socket and clears away after it. It is pid 1 of a pid
// namespace of its own, root in the user's namespace, alone in its mount
// namespace and at home in the host's network. Only proa-monitor links it.
package supervisor

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/errs/wire"
	"github.com/proa-containers/proa/pkg/failpoint"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/process"
	"github.com/proa-containers/proa/pkg/monitor/rootfs"
	"github.com/proa-containers/proa/pkg/monitor/rootfs/inroot"
	"github.com/proa-containers/proa/pkg/monitor/stream"
	"github.com/proa-containers/proa/pkg/rundir"
)

// Options are the mechanisms that the monitor's main brings along.
type Options struct {
	RunDir string
	// Network makes the driver of a container's network, given a descriptor of
	// the host's /proc. nil: only the modes none, host and container work.
	Network func(hostProc *os.File) Network
	// OpenLog opens the configured log driver; a nil Logger logs nothing. It
	// may be nil itself.
	OpenLog func(*monitor.Config) (stream.Logger, error)
}

type supervisor struct {
	o    Options
	in   *inherited
	host process.HostView
	cfg  *monitor.Config
	reap process.Reaper

	hub    *stream.Hub
	server *server
	root   *rootfs.Rootfs
	rootFD *os.File
	net    *netSetup

	mu       sync.Mutex
	status   monitor.Status
	run      *run // of the present process; nil between two
	stopping bool // no restart any more
	byUser   bool // because stop or kill said so
	stopped  chan struct{}
	rest     *time.Timer
	late     func()      // repeats a stop that came while the process was starting
	removing atomic.Bool // a stop came from a removal
	runDir   runDir
}

// Run is the whole life of a monitor. An error that the front end was told
// comes back as well. It is called from the main goroutine.
//
// The main thread does nothing but wait: /proc/self stands for it, and threads
// that change their namespace (ours for the network's, libcontainer's for
// mounts) must never be it.
func Run(o Options) error {
	runtime.LockOSThread()
	done := make(chan error)
	go func() { done <- watch(o) }()
	return <-done
}

func watch(o Options) error {
	if os.Getpid() != 1 {
		// --pid=host: the container dies with the thread that started it.
		runtime.LockOSThread()
	}
	in, err := inherit()
	if err != nil {
		return err
	}
	s := &supervisor{o: o, in: in, host: process.NewHostView(in.proc), stopped: make(chan struct{})}
	s.reap.Adopt()
	go s.reap.Watch()
	go s.signals()
	go warmUp()
	if s.server, err = newServer(s); err == nil {
		s.cfg, err = in.readConfig()
	}
	if err != nil {
		s.leave()
		if errors.Is(err, io.EOF) {
			return nil // the front end changed its mind
		}
		_ = in.reply(nil, err)
		return err
	}
	return s.life()
}

// life is everything after the configuration has come.
func (s *supervisor) life() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := s.first(ctx)
	if err != nil {
		s.finish(s.failed(err))
		return err
	}
	s.watchRunDir()
	s.mu.Lock()
	s.rest = time.AfterFunc(restAfter, slim)
	s.mu.Unlock()
	return s.finish(s.supervise(r))
}

// supervise runs the process again and again as the policy says, and returns
// how it ended for good.
func (s *supervisor) supervise(r *run) monitor.Exit {
	var b backoff
	b.count = s.cfg.RestartCount
	for {
		<-r.done
		e := s.ended(r)
		wait, again := b.next(s.cfg.Restart, ended{e.Code, e.FinishedAt.Sub(e.StartedAt), s.isStopping()})
		if !again {
			e.RestartCount = b.count
			return e
		}
		s.update(func(st *monitor.Status) {
			st.State, st.PID, st.PIDStart, st.InnerPID = rundir.StateRestarting, 0, 0, 0
			st.FinishedAt, st.ExitCode, st.OOMKilled, st.RestartCount = e.FinishedAt, e.Code, e.OOMKilled, b.count
		})
		s.server.announceRestart(e)
		select {
		case <-time.After(wait):
		case <-s.stopped:
		}
		if s.isStopping() {
			s.mark(&e)
			e.RestartCount = b.count
			return e
		}
		lock := s.runDirLock()
		next, err := s.begin()
		if err != nil && !s.runDirStayed(lock) {
			// The runtime directory vanished, with what was made in it.
			s.restoreRunDir()
			next, err = s.begin()
		}
		if err != nil {
			failed := s.failed(err)
			failed.StartedAt, failed.RestartCount = e.StartedAt, b.count // it has run
			return failed
		}
		r = next
		s.stirred()
	}
}

// ended is the end of one run, once its output has been taken.
func (s *supervisor) ended(r *run) monitor.Exit {
	s.mu.Lock()
	s.run = nil
	s.mu.Unlock()
	e := monitor.Exit{Code: r.code, Signal: r.signal, OOMKilled: r.oom, StartedAt: r.started, FinishedAt: time.Now().UTC(),
		Run: s.cfg.Run, Refused: wire.New(r.refusal)}
	if r.refusal != nil {
		e.Error = r.refusal.Error()
	}
	if e.Code != 0 {
		e.Closed = inroot.ClosedMount(s.cfg, r.user)
		if e.Closed != "" {
			e.ClosedTo = strconv.Itoa(r.user.UID) + ":" + strconv.Itoa(r.user.GID)
		}
	}
	s.mark(&e)
	process.KillStrays()
	r.destroy()
	return e
}

func (s *supervisor) mark(e *monitor.Exit) {
	s.mu.Lock()
	e.StoppedByUser = s.byUser
	s.mu.Unlock()
}

// failed is the end of a container whose process could not be started.
func (s *supervisor) failed(err error) monitor.Exit {
	e := monitor.Exit{Code: errs.ExitCode(err), FinishedAt: time.Now().UTC(), Error: err.Error(), Run: s.cfg.Run}
	if e.Code == 125 {
		e.Code = 128 // as Docker records it
	}
	s.mark(&e)
	return e
}

func (s *supervisor) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// update changes the status and writes it down. A status that cannot be
// written (a full tmpfs) costs the readers their view, not the container its
// life.
func (s *supervisor) update(change func(*monitor.Status)) monitor.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
	s.status.Protocol, s.status.Run = rundir.Protocol, s.cfg.Run
	_ = atomicfile.WriteJSON(filepath.Join(s.o.RunDir, rundir.StatusFile), &s.status, 0o600, atomicfile.Volatile)
	return s.status
}

func (s *supervisor) snapshot() monitor.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// signals stops the container orderly when the session, or the machine, ends.
// That is not the user's wish about this container: unless-stopped brings it
// back.
func (s *supervisor) signals() {
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGIO, rundir.SignalRestore)
	for sig := range ch {
		switch sig {
		case unix.SIGIO:
			s.runDirChanged()
		case rundir.SignalRestore:
			s.restoreRunDir()
		default:
			s.stop(0, nil, false)
		}
	}
}

// noRestart makes the present run the last one.
func (s *supervisor) noRestart(byUser bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byUser = s.byUser || byUser
	if !s.stopping {
		s.stopping = true
		close(s.stopped)
	}
}

// stop asks the process to end, waits, and kills it. It returns at once.
func (s *supervisor) stop(sig int, timeout *int, byUser bool) {
	s.noRestart(byUser)
	s.mu.Lock()
	r := s.run
	if r == nil {
		s.late = func() { s.stop(sig, timeout, byUser) }
	}
	s.mu.Unlock()
	if r == nil {
		return
	}
	if sig == 0 {
		sig = stopSignal(s.cfg.StopSignal)
	}
	wait := s.cfg.StopTimeout
	if timeout != nil {
		wait = *timeout
	}
	s.thaw(r)
	_ = r.Process.Signal(sig)
	if wait < 0 || sig == int(unix.SIGKILL) {
		return
	}
	go func() {
		select {
		case <-r.done:
		case <-time.After(time.Duration(wait) * time.Second):
			_ = r.P.Signal(unix.SIGKILL)
		}
	}()
}

func (s *supervisor) current() *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run
}

func hit(name string) error { return failpoint.Hit(name) }
