// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/client"
	"github.com/proa-containers/proa/pkg/term"
)

// ExecOptions describe one more process in a running container.
type ExecOptions struct {
	Args       []string
	Env        []string // KEY=VALUE, after the container's own
	Dir        string   // empty: the container's
	User       string   // empty: the container's
	TTY        bool
	Privileged bool
	Detach     bool
	Streams    Streams // ignored with Detach
}

// Exec runs a process in a running container and waits for it without Detach;
// its status other than 0 comes back as *errs.ExitError.
func (e *Engine) Exec(ctx context.Context, ref string, o ExecOptions) error {
	c, err := e.loadRunning(ctx, ref)
	if err != nil {
		return err
	}
	if c.State == lifecycle.Paused {
		return errs.WithHint(errs.New(errs.State, "Container %s is paused, unpause the container before exec", c.Name), "proa unpause %s", c.Name)
	}
	if c.State == lifecycle.Restarting {
		return errs.New(errs.State, "Container %s is restarting, wait until the container is running", c.ID)
	}
	m, err := e.dial(c)
	if err != nil {
		return err
	}
	r := monitor.ExecRequest{Args: o.Args, Env: o.Env, Dir: o.Dir, User: o.User, TTY: o.TTY, Privileged: o.Privileged}
	if o.Detach {
		r.TTY = false // nobody is there to look at it
		s, err := m.Exec(ctx, r, nil)
		if err != nil {
			return err
		}
		s.Close()
		return nil
	}
	n, err := newSession(o.Streams, o.TTY)
	if err != nil {
		_ = m.Close()
		return err
	}
	defer n.end()
	if o.TTY {
		r.Rows, r.Cols = n.size()
		return execTerminal(ctx, m, r, n)
	}
	return execPipes(ctx, m, r, n)
}

// execPeer is the process behind a session of exec.
type execPeer struct{ s *client.Session }

func (p execPeer) Signal(sig int) error { return p.s.Signal(sig) }

func (p execPeer) Resize(rows, cols uint16) error {
	if p.s.Master == nil {
		return nil
	}
	return term.SetSize(p.s.Master, rows, cols)
}

// execTerminal speaks to the process over its terminal's master end, which the
// monitor has handed over.
func execTerminal(ctx context.Context, m *client.Client, r monitor.ExecRequest, n *session) error {
	s, err := m.Exec(ctx, r, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := n.connect(execPeer{s}); err != nil {
		return err
	}
	left := make(chan struct{})
	if n.in != nil {
		go func() {
			_, err := io.Copy(s.Master, n.in)
			if errors.Is(err, term.ErrDetached) {
				close(left)
			} else if err == nil {
				// A terminal has no end of input but its character for it.
				_, _ = s.Master.Write([]byte{4})
			}
		}()
	}
	out := n.s.Out
	if out == nil {
		out = io.Discard
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(out, s.Master) // ends with EIO when the last one closes the terminal
	}()
	done := make(chan execEnd, 1)
	go func() {
		code, err := s.Wait(ctx)
		done <- execEnd{code, err}
	}()
	select {
	case <-left:
		_ = s.Detach()
		n.detached()
		return nil
	case x := <-done:
		if x.code != 0 || x.err == nil {
			select {
			case <-drained:
			case <-time.After(drainTime): // something in the background keeps it
			}
		}
		if x.err != nil {
			return x.err
		}
		return exitError(x.code)
	}
}

type execEnd struct {
	code int
	err  error
}

// drainTime is how long output is awaited once the process has ended, where
// something else still holds its streams open.
const drainTime = 300 * time.Millisecond

// execPipes hands pipes to the process. The monitor is not in their way.
func execPipes(ctx context.Context, m *client.Client, r monitor.ExecRequest, n *session) error {
	var theirs [3]*os.File
	p := &pipes{}
	defer p.close()
	if err := p.open(n, &theirs); err != nil {
		_ = m.Close()
		return err
	}
	s, err := m.Exec(ctx, r, &theirs)
	for _, f := range theirs {
		if f != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		return err
	}
	defer s.Close()
	if err := n.connect(execPeer{s}); err != nil {
		return err
	}
	done := p.copy(n)
	code, err := s.Wait(ctx)
	if code != 0 || err == nil {
		p.drain(done) // what a program that could not be run has to say, too
	}
	if err != nil {
		return err
	}
	return exitError(code)
}

// pipes are our ends of a process's streams.
type pipes struct{ in, out, err *os.File }

func (p *pipes) close() {
	for _, f := range []*os.File{p.in, p.out, p.err} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// open makes a pipe for each stream that the client has, /dev/null for others.
func (p *pipes) open(n *session, theirs *[3]*os.File) error {
	for i, w := range []struct {
		ours   **os.File
		wanted bool
	}{{&p.in, n.in != nil}, {&p.out, n.s.Out != nil}, {&p.err, n.s.Err != nil}} {
		if !w.wanted {
			f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			theirs[i] = f
			continue
		}
		r, wr, err := os.Pipe()
		if err != nil {
			return errs.Wrap(err, "make a pipe", "")
		}
		if i == 0 {
			theirs[i], *w.ours = r, wr
		} else {
			*w.ours, theirs[i] = r, wr
		}
	}
	return nil
}

// copy moves bytes until the process's streams end.
func (p *pipes) copy(n *session) <-chan struct{} {
	if p.in != nil {
		in := p.in
		p.in = nil
		go func() {
			_, _ = io.Copy(in, n.in)
			_ = in.Close()
		}()
	}
	done := make(chan struct{})
	one := make(chan struct{}, 2)
	count := 0
	for _, w := range []struct {
		from *os.File
		to   io.Writer
	}{{p.out, n.s.Out}, {p.err, n.s.Err}} {
		if w.from == nil {
			continue
		}
		count++
		go func() {
			copyOut(w.to, w.from)
			one <- struct{}{}
		}()
	}
	go func() {
		for range count {
			<-one
		}
		close(done)
	}()
	return done
}

// drain waits for the rest of the output. A process in the background that
// inherited the streams does not hold the command up.
func (p *pipes) drain(done <-chan struct{}) {
	select {
	case <-done:
		return
	case <-time.After(drainTime):
	}
	for _, f := range []*os.File{p.out, p.err} {
		if f != nil {
			_ = f.SetReadDeadline(time.Now())
		}
	}
	<-done
}

// copyOut copies until the end, or until a deadline has passed and nothing is
// left in the pipe.
func copyOut(to io.Writer, from *os.File) {
	_, err := io.Copy(to, from)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	raw, err := from.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 64<<10)
	for {
		n := 0
		_ = raw.Control(func(fd uintptr) { n, err = unix.Read(int(fd), buf) })
		if n <= 0 || err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
