// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/process"
	"github.com/proa-containers/proa/pkg/monitor/rootfs"
	"github.com/proa-containers/proa/pkg/monitor/rootfs/inroot"
	"github.com/proa-containers/proa/pkg/monitor/rootfs/volume"
	"github.com/proa-containers/proa/pkg/monitor/stream"
	"github.com/proa-containers/proa/pkg/rundir"
)

// first sets everything up, starts the process and tells the front end. The
// network is connected while the mounts are made and the container is created.
func (s *supervisor) first(ctx context.Context) (*run, error) {
	if err := hit(FailpointLocked); err != nil {
		return nil, s.tell(nil, err)
	}
	// A leftover of an earlier life would be taken for this one's end.
	_ = os.Remove(filepath.Join(s.cfg.DataDir, rundir.ExitFile))
	r, err := s.setUp(ctx)
	if err != nil {
		return nil, s.tell(nil, err)
	}
	st := s.snapshot()
	if err := hit(FailpointStarted); err != nil {
		_ = r.Process.Signal(int(unix.SIGKILL))
		<-r.done // it is followed already
		r.destroy()
		return nil, s.tell(nil, err)
	}
	told := make(chan struct{})
	go func() {
		_ = s.tell(&st, nil) // too late to give up: the process runs
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(requestTime): // a front end that is stopped
	}
	return r, nil
}

// tell answers the front end, once, and returns err.
func (s *supervisor) tell(st *monitor.Status, err error) error {
	_ = s.in.reply(st, err)
	return err
}

func (s *supervisor) setUp(ctx context.Context) (*run, error) {
	pid, start := s.host.Self()
	s.update(func(st *monitor.Status) {
		st.State, st.MonitorPID, st.MonitorStart = rundir.StateCreating, pid, start
		st.RestartCount = s.cfg.RestartCount
		if c := s.cfg.Container.Cgroups; c != nil && c.Resources != nil && c.Resources.PidsLimit != nil {
			st.PidsLimit = *c.Resources.PidsLimit
		}
	})
	if err := s.openHub(); err != nil {
		return nil, err
	}
	type netResult struct {
		n   *netSetup
		err error
	}
	netCh := make(chan netResult, 1)
	go func() {
		n, err := startNetwork(ctx, s.driver(), s.cfg.Network, s.host)
		netCh <- netResult{n, err}
	}()
	err := s.mount()
	nr := <-netCh
	s.net = nr.n
	if err == nil {
		err = nr.err
	}
	if err != nil {
		return nil, err
	}
	s.prepare()
	return s.begin()
}

// openHub opens the log and begins to serve clients.
func (s *supervisor) openHub() error {
	var log stream.Logger
	if s.o.OpenLog != nil {
		var err error
		if log, err = s.o.OpenLog(s.cfg); err != nil {
			return errs.Wrap(err, "open the log", s.cfg.LogPath)
		}
	}
	s.hub = stream.NewHub(log)
	s.server.serve(s.in.attach)
	return nil
}

// mount makes the root file system and everything in it that has to be there
// before the container is created.
func (s *supervisor) mount() error {
	zeroUID, zeroGID := inroot.Identity{}.Seen(s.cfg.Container) // the container's root
	if err := rootfs.CreateFiles(s.cfg.Files, s.cfg.Network.Mode, zeroUID, zeroGID); err != nil {
		return err
	}
	if s.cfg.Shm != nil {
		if err := mountShm(s.cfg.Shm); err != nil {
			return err
		}
	}
	target, err := rootfs.MountPoint(s.cfg), error(nil)
	if len(s.cfg.Container.UIDMappings) > 0 {
		if target, err = rootfs.NestedMountPoint(s.cfg); err != nil {
			return err
		}
	}
	if s.root, err = rootfs.MountRootfs(s.cfg.Rootfs, target, s.cfg.AutoRemove); err != nil {
		return err
	}
	if s.root.Fuse != nil {
		s.reap.Begin()
		s.reap.End(s.root.Fuse.Process.Pid)
	}
	if s.rootFD, err = inroot.OpenRoot(s.root.Path); err != nil {
		return errs.Wrap(err, "open the root file system", s.root.Path)
	}
	inroot.Mark(s.rootFD, zeroUID, zeroGID)
	if s.cfg.Account != nil {
		if err := inroot.AddAccount(s.rootFD, s.cfg.Account); err != nil {
			return err
		}
	}
	if s.cfg.Localtime != "" {
		if err := inroot.SetLocaltime(s.rootFD, s.cfg.Localtime, zeroUID, zeroGID); err != nil {
			return err
		}
	}
	id, err := inroot.ResolveUser(s.rootFD, s.cfg.Process.User, s.cfg.Process.AdditionalGIDs)
	if err != nil {
		return err
	}
	uid, gid := id.Seen(s.cfg.Container)
	if err := volume.Prepare(s.rootFD, s.cfg.Volumes, uid, gid); err != nil {
		return err
	}
	if err := inroot.EnsureDir(s.finder(), s.cfg.Process.Dir); err != nil {
		return err
	}
	return hit(FailpointMounted)
}

func (s *supervisor) finder() inroot.Finder {
	return inroot.Finder{Root: s.rootFD, Mounts: inroot.MountMap(s.cfg.Container, s.cfg.Volumes)}
}

// prepare completes the libcontainer configuration; restarts use it again.
func (s *supervisor) prepare() {
	c := process.BaseConfig(s.cfg, s.root.Path, s.net.netns)
	c.NoNewKeyring = true // Init sees to it
	if c.Cgroups == nil {
		c.Cgroups = &cgroups.Cgroup{Resources: &cgroups.Resources{}}
	}
	if c.Cgroups.Resources == nil {
		c.Cgroups.Resources = &cgroups.Resources{}
	}
	if len(c.Cgroups.Devices) > 0 {
		process.EnforceDevices()
	}
}

// begin creates the container and starts its process: at the first start and
// at each restart.
func (s *supervisor) begin() (*run, error) {
	// Not in the runtime directory: that may be gone at a restart.
	parts, err := volume.MountParts(s.cfg.Files.Dir, s.cfg.Volumes, s.cfg.Container.Mounts)
	if err != nil {
		return nil, err
	}
	r, err := s.create()
	if cerr := parts.Close(); err == nil && cerr != nil {
		err = s.abort(r, errs.Wrap(cerr, "unmount the parts of volumes", ""))
	}
	if err != nil {
		return nil, err
	}
	if err := s.connect(); err != nil {
		return nil, s.abort(r, err)
	}
	if err := hit(FailpointCreated); err != nil {
		return nil, s.abort(r, err)
	}
	if err := s.mayStart(); err != nil {
		return nil, s.abort(r, err)
	}
	if err := hit(FailpointStarting); err != nil {
		return nil, s.abort(r, err)
	}
	s.hub.Fit(r.Master)
	r.started = time.Now().UTC()
	if err := r.c.Exec(); err != nil {
		return nil, s.abort(r, &errs.Error{Op: "start container", Err: err})
	}
	pid, start := s.host.Child(r.Pid)
	s.mu.Lock()
	s.run = r
	late := s.late
	s.mu.Unlock()
	s.update(func(st *monitor.Status) {
		st.State, st.InnerPID, st.PID, st.PIDStart, st.StartedAt = rundir.StateRunning, r.Pid, pid, start, r.started
		if s.cfg.Health != nil { // it is there when the front end is told of the start
			st.Health = &monitor.HealthStatus{Status: healthStarting}
		}
	})
	go s.follow(r)
	go s.watchHealth(r)
	if late != nil {
		go late()
	}
	return r, nil
}

// create makes the container up to the point where its program would run.
func (s *supervisor) create() (*run, error) {
	p := s.cfg.Process
	// Looked up afresh: the last run may have changed its passwd.
	id, err := inroot.ResolveUser(s.rootFD, p.User, p.AdditionalGIDs)
	if err != nil {
		return nil, err
	}
	if err := id.CheckMapped(s.cfg.Container); err != nil {
		return nil, err
	}
	env := process.Environ(p.Env, id.Home, s.cfg.Container.Hostname, p.TTY)
	lp := &libcontainer.Process{
		Init: true, Args: p.Args, Env: env, Cwd: p.Dir, UID: id.UID, GID: id.GID, AdditionalGroups: id.Groups,
		Capabilities: process.Capabilities(s.cfg.Container.Capabilities, id.UID),
	}
	if lp.Cwd == "" {
		lp.Cwd = "/"
	}
	r := &run{Process: &process.Process{P: lp}, env: env, user: id, done: make(chan struct{})}
	if p.TTY {
		err = r.Terminal(p.Rows, p.Cols)
	} else {
		err = r.Pipes(p.OpenStdin)
	}
	if err != nil {
		r.Process.Close()
		return nil, err
	}
	if len(p.Args) == 0 {
		r.Process.Close()
		return nil, errs.New(errs.Invalid, "no command specified")
	}
	s.reap.Begin()
	r.c, err = libcontainer.Create(filepath.Join(s.o.RunDir, "rt"), s.cfg.ID, s.cfg.Container)
	if err == nil {
		err = r.Start(r.c)
	}
	s.reap.End(r.Pid)
	if err != nil {
		r.Process.Close()
		if r.c != nil {
			_ = r.c.Destroy()
		}
		return nil, s.startError(err, lp)
	}
	return r, nil
}

// connect waits for the network and writes the files that need its addresses.
func (s *supervisor) connect() error {
	<-s.net.done
	if s.net.err != nil {
		return s.net.err
	}
	if err := hit(FailpointNetwork); err != nil {
		return err
	}
	s.mu.Lock() // written down with the start
	s.status.Attachment = s.net.attachment
	s.status.Warnings = append(s.status.Warnings, s.net.warnings...)
	if s.net.netns != nil {
		s.status.NetnsFD = int(s.net.netns.Fd())
	}
	s.mu.Unlock()
	return rootfs.FillFiles(s.cfg.Files, s.cfg.Network, s.net.attachment)
}

// mayStart holds the first start back until a foreground client is attached,
// and gives up when the front end has gone.
func (s *supervisor) mayStart() error {
	if s.snapshot().StartedAt.IsZero() && (s.cfg.WaitAttach || s.in.attach != nil) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for waiting := true; waiting; {
			select {
			case <-s.hub.First:
				waiting = false
			case <-tick.C:
				waiting = !s.in.frontEndGone()
			}
		}
	}
	if s.snapshot().StartedAt.IsZero() && s.in.frontEndGone() {
		return errs.New(errs.Canceled, "the front end has gone")
	}
	switch {
	case !s.isStopping():
		return nil
	case s.removing.Load():
		return monitor.RemovalBegun(s.cfg.Name)
	}
	return errs.New(errs.Canceled, "container %s was stopped while it was starting", s.cfg.Name)
}

// abort takes back a container that was created.
func (s *supervisor) abort(r *run, err error) error {
	s.mu.Lock()
	s.run = nil
	s.mu.Unlock()
	_ = r.P.Signal(os.Kill)
	r.Process.Wait()
	s.reap.Forget(r.Pid)
	r.Process.Close()
	r.destroy()
	return err
}

func (r *run) destroy() {
	_ = r.c.Destroy()
}

// follow moves the process's output until its end.
func (s *supervisor) follow(r *run) {
	s.hub.SetEnding(false)
	var ends []*os.File
	pump := func(f *os.File, stream monitor.FrameType) {
		ends = append(ends, f)
		r.pumps.Add(1)
		go func() {
			defer r.pumps.Done()
			s.hub.Pump(f, stream)
		}()
	}
	if r.Master != nil {
		s.hub.SetStdin(r.Master, true)
		pump(r.Master, monitor.FrameStdout)
	} else {
		s.hub.SetStdin(r.In, false)
		pump(r.Out, monitor.FrameStdout)
		pump(r.Err, monitor.FrameStderr)
	}
	r.code, r.signal = r.Process.Wait()
	if r.refusal = s.refusal(r.Process, s.finder()); r.refusal != nil {
		r.code = errs.ExitCode(r.refusal)
	}
	s.hub.SetEnding(true)
	s.reap.Forget(r.Pid)
	if r.signal == 9 {
		r.oom = process.OomKills(r.c)
	}
	drained := make(chan struct{})
	go func() { r.pumps.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(drainTime):
		for _, f := range ends {
			_ = f.SetReadDeadline(time.Now().Add(drainTime))
		}
		<-drained
	}
	s.hub.SetStdin(nil, false)
	r.Process.Close()
	close(r.done)
}
