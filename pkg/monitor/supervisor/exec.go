// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/capability"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/errs/wire"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/process"
	"github.com/proa-containers/proa/pkg/monitor/rootfs/inroot"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
)

// exec runs a further process in the container. Its streams are the client's
// own descriptors, or a terminal whose master the client gets: the monitor
// only waits for its end.
func (v *server) exec(c *monitor.Conn, r *monitor.ExecRequest, fds []*os.File) error {
	if r == nil || len(r.Args) == 0 {
		return errs.New(errs.Invalid, "no command specified")
	}
	run := v.s.current()
	switch {
	case run == nil:
		return errNotRunning
	case v.s.snapshot().State == rundir.StatePaused:
		return errs.New(errs.State, "container is paused, unpause it before exec")
	}
	p, err := v.s.startExec(run, r, fds, nil)
	if err != nil {
		return err
	}
	pid, _ := v.s.host.Child(p.Pid)
	reply := monitor.Reply{PID: pid}
	master := p.Master
	p.Master = nil
	if master != nil {
		err = c.WriteJSON(monitor.FrameReply, reply, master)
	} else {
		err = c.WriteJSON(monitor.FrameReply, reply)
	}
	v.sessions.Add(1)
	go func() {
		defer v.sessions.Done()
		code, signal := p.Wait()
		v.s.reap.Forget(p.Pid)
		refusal := v.s.execRefusal(run, p)
		if refusal != nil {
			code = errs.ExitCode(refusal)
		}
		_ = c.WriteJSON(monitor.FrameExited, monitor.Exit{Code: code, Signal: signal, Refused: wire.New(refusal)})
		// The reader below ends when the client has taken this in.
	}()
	detached := err == nil && followSession(c, p)
	if master != nil {
		if detached {
			go drainTerminal(master)
		} else {
			master.Close() // a client that is gone hangs up
		}
	}
	return nil
}

// followSession passes signals on until the client leaves, and reports whether
// that was by its detach keys.
func followSession(c *monitor.Conn, p *process.Process) (detached bool) {
	for {
		fr, err := c.Read(nil)
		if err != nil {
			return detached
		}
		fr.CloseFDs()
		switch fr.Type {
		case monitor.FrameSignal:
			_ = p.Signal(monitor.ParseSignal(fr.Payload))
		case monitor.FrameDetach:
			detached = true
		}
	}
}

// drainTerminal keeps the terminal of processes open whose client has left, and
// drops what they print: a full terminal would stop them. It ends with the last
// of them.
func drainTerminal(master *os.File) {
	defer master.Close()
	buf := make([]byte, 4<<10)
	for {
		if _, err := master.Read(buf); err != nil {
			return
		}
	}
}

// startExec starts a further process; mark, where not nil, makes it adopt the
// orphans below it. The callee closes what it is given.
func (s *supervisor) startExec(run *run, r *monitor.ExecRequest, fds []*os.File, mark *os.File) (*process.Process, error) {
	// The root as the container sees it now, with all its mounts.
	root, err := inroot.OpenRoot("/proc/" + strconv.Itoa(run.Pid) + "/root")
	if err != nil {
		return nil, errNotRunning
	}
	defer root.Close()
	lp, err := s.execProcess(root, r)
	if err != nil {
		return nil, err
	}
	p := &process.Process{P: lp}
	if mark != nil {
		lp.ExtraFiles = []*os.File{mark}
	}
	switch {
	case r.TTY:
		err = p.Terminal(r.Rows, r.Cols)
	case len(fds) == 3:
		lp.Stdin, lp.Stdout, lp.Stderr = fds[0], fds[1], fds[2]
		p.Theirs = fds // closed at once: the client waits for the end of a pipe
	case len(fds) == 0:
		err = p.NoStreams()
	default:
		err = errs.New(errs.Invalid, "exec takes three descriptors")
	}
	if mark != nil {
		p.Theirs = append(p.Theirs, mark)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	s.reap.Begin()
	err = p.Start(run.c)
	s.reap.End(p.Pid)
	if err != nil {
		if e := s.attempt(inroot.Finder{Root: root}, lp, errs.CommandMissing).Explain(); e != nil {
			return nil, e
		}
		return nil, &errs.Error{Op: "execute in container", Object: s.cfg.Name, Err: err}
	}
	return p, nil
}

// execRefusal is refusal for a process that exec started.
func (s *supervisor) execRefusal(run *run, p *process.Process) error {
	if !p.Refused {
		return nil
	}
	root, err := inroot.OpenRoot("/proc/" + strconv.Itoa(run.Pid) + "/root")
	if err != nil {
		return s.refusal(p, s.finder()) // the container has ended meanwhile
	}
	defer root.Close()
	return s.refusal(p, inroot.Finder{Root: root})
}

// execExplain says why args cannot be executed in the container as p was, nil where
// nothing is known against it.
func (s *supervisor) execExplain(run *run, p *process.Process, args []string) error {
	root, err := inroot.OpenRoot("/proc/" + strconv.Itoa(run.Pid) + "/root")
	if err != nil {
		return nil // the container has ended meanwhile
	}
	defer root.Close()
	lp := *p.P
	lp.Args = args
	a := s.attempt(inroot.Finder{Root: root}, &lp, errs.CommandMissing)
	if err := a.Explain(); err != nil {
		return err
	}
	return a.ExplainRefusal()
}

func (s *supervisor) execProcess(root *os.File, r *monitor.ExecRequest) (*libcontainer.Process, error) {
	who, additional := r.User, []string(nil)
	if who == "" {
		who, additional = s.cfg.Process.User, s.cfg.Process.AdditionalGIDs
	}
	id, err := inroot.ResolveUser(root, who, additional)
	if err != nil {
		return nil, err
	}
	if err := id.CheckMapped(s.cfg.Container); err != nil {
		return nil, err
	}
	dir := r.Dir
	if dir == "" {
		dir = s.cfg.Process.Dir
	}
	if dir == "" {
		dir = "/"
	}
	env := spec.MergeEnv(s.cfg.Process.Env, r.Env, nil)
	caps := process.Capabilities(s.cfg.Container.Capabilities, id.UID)
	if r.Privileged {
		caps = allCapabilities()
	}
	return &libcontainer.Process{
		Args: r.Args, Env: process.Environ(env, id.Home, s.cfg.Container.Hostname, r.TTY), Cwd: dir,
		UID: id.UID, GID: id.GID, AdditionalGroups: id.Groups, Capabilities: caps,
	}, nil
}

// allCapabilities is everything that this monitor can give: real root may have
// lost some itself.
func allCapabilities() *configs.Capabilities {
	var all []string
	for n, name := range capabilityNames() {
		if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0); err == nil && has == 1 {
			all = append(all, name)
		}
	}
	return &configs.Capabilities{Bounding: all, Effective: all, Permitted: all}
}

// capabilityNames are those that the kernel knows, by number.
func capabilityNames() map[int]string {
	names := map[int]string{}
	for _, c := range capability.ListKnown() {
		names[int(c)] = "CAP_" + strings.ToUpper(c.String())
	}
	return names
}
