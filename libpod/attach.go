// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/ballast"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/failpoint"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/client"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/term"
)

// peer is the process at the other end of a session: a container's main
// process, or one started by exec.
type peer interface {
	Resize(rows, cols uint16) error
	Signal(sig int) error
}

// session connects a client's streams with a peer.
type session struct {
	s        Streams
	tty      bool
	in       io.Reader // nil: none
	terminal *os.File  // the client's, with tty; nil: none
	undo     []func()
	insisted chan struct{} // closed with the signal after which the client leaves
	left     atomic.Bool   // by the detach keys
	// stdinOnce: the process's input ends with this client's.
	stdinOnce bool
}

// newSession checks the streams. Nothing is changed yet.
func newSession(s Streams, tty bool) (*session, error) {
	keys, err := term.ParseKeys(s.DetachKeys)
	if err != nil {
		return nil, err
	}
	n := &session{s: s, tty: tty, insisted: make(chan struct{})}
	if s.In != nil && !s.NoStdin {
		n.in = s.In
		if tty {
			n.in = term.NewEscape(s.In, keys)
		}
	}
	if tty && s.TTY {
		n.terminal = terminalOf(s.In, s.Out)
	}
	return n, nil
}

// terminalOf is the terminal that stands behind a stream, nil where none does.
func terminalOf(streams ...any) *os.File {
	for _, s := range streams {
		if f, ok := s.(*os.File); ok && f != nil && term.IsTerminal(f) {
			return f
		}
	}
	return nil
}

// size is the client's terminal's, zero without one.
func (n *session) size() (rows, cols uint16) {
	if n.terminal == nil {
		return 0, 0
	}
	rows, cols, _ = term.Size(n.terminal)
	return rows, cols
}

// connect puts the terminal into raw mode and begins to follow its size and to
// hand on signals.
func (n *session) connect(p peer) error {
	if n.terminal != nil && n.in != nil {
		restore, err := term.MakeRaw(n.terminal)
		if err != nil {
			return err
		}
		n.undo = append(n.undo, restore)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.undo = append(n.undo, cancel)
	if n.terminal != nil {
		term.FollowSize(ctx, n.terminal, func(rows, cols uint16) { _ = p.Resize(rows, cols) })
	}
	if n.s.SigProxy {
		ends := 0
		term.ProxySignals(ctx, func(s syscall.Signal) {
			_ = p.Signal(int(s))
			if s == syscall.SIGINT || s == syscall.SIGTERM {
				if ends++; ends == insistence {
					close(n.insisted)
				}
			}
		})
	}
	return nil
}

// insistence is the number of SIGINTs and SIGTERMs after which the client leaves, as in
// Docker: a process that ignores them must not hold the terminal.
const insistence = 3

// ErrInsisted ends a session whose user sent several signals to a process that does not
// end. The container goes on.
var ErrInsisted = errors.New("got 3 SIGTERM/SIGINTs, forcefully exiting")

// detached ends the session after the detach keys.
func (n *session) detached() {
	n.end()
	if n.s.OnDetach != nil {
		n.s.OnDetach()
	}
}

// end puts everything back. It may be called twice.
func (n *session) end() {
	for _, f := range n.undo {
		f()
	}
	n.undo = nil
}

// request is the subscription that the streams ask for.
func (n *session) request() *monitor.AttachRequest {
	r := &monitor.AttachRequest{Stdin: n.in != nil, Stdout: n.s.Out != nil, Stderr: n.s.Err != nil}
	if n.tty {
		r.Stdout = n.s.Out != nil || n.s.Err != nil
		r.Rows, r.Cols = n.size()
	}
	return r
}

// copied is the outcome of a subscription.
type copied struct {
	exit   monitor.Exit
	err    error
	denied bool // the output says "permission denied"
}

// feed copies the client's input. It begins when the process runs: before,
// the monitor has nowhere to put it.
func (n *session) feed(a *client.Attachment) {
	if n.in == nil {
		return
	}
	go func() {
		_, err := io.Copy(attachWriter{a}, n.in)
		if errors.Is(err, term.ErrDetached) {
			n.left.Store(true)
			_ = a.Detach()
			return
		}
		if n.stdinOnce {
			// The process's input ends with it, and its output goes on.
			_ = a.CloseStdin()
			return
		}
		// The process's input stays open for the next client. As in Docker this
		// one has nothing more to do; what it has just caused is worth a moment.
		time.Sleep(lastWords)
		_ = a.Detach()
	}()
}

// lastWords is how long the answer to the end of the input is awaited.
const lastWords = 300 * time.Millisecond

// pump copies output. The channel gets the outcome when the container has
// ended, or the client has left.
func (n *session) pump(a *client.Attachment) <-chan copied {
	ch := make(chan copied, 1)
	out := n.s.Out
	if out == nil && n.tty {
		out = n.s.Err
	}
	o, e := &listener{w: out}, &listener{w: n.s.Err}
	go func() {
		x, err := a.Copy(o, e)
		ch <- copied{exit: x, err: err, denied: o.denied || e.denied}
	}()
	return ch
}

// listener passes output on and notes whether it says "permission denied".
type listener struct {
	w      io.Writer // nil: the output is dropped
	denied bool
}

func (l *listener) Write(p []byte) (int, error) {
	l.denied = l.denied || bytes.Contains(p, []byte("ermission denied"))
	if l.w == nil {
		return len(p), nil
	}
	return l.w.Write(p)
}

// keepIDHint names the cure when users mount a directory of their own into a container
// that runs as another user, which cannot write there.
func (e *Engine) keepIDHint(r *copied) {
	uid, gid, ok := strings.Cut(r.exit.ClosedTo, ":")
	if !ok || !r.denied || r.exit.Code == 0 {
		return
	}
	e.notice(fmt.Sprintf("user %s in the container cannot write to %s, which belongs to you; --userns keep-id:uid=%s,gid=%s gives this user your id",
		uid, r.exit.Closed, uid, gid))
}

// attachWriter keeps io.Copy from closing over more than Write.
type attachWriter struct{ a *client.Attachment }

func (w attachWriter) Write(p []byte) (int, error) { return w.a.Write(p) }

// outcome waits for the end of an attached container and settles its record.
// The result is what the command returns.
func (e *Engine) outcome(ctx context.Context, c *container, n *session, a *client.Attachment, ch <-chan copied) error {
	canceled := ctx.Done()
	if n.s.SigProxy {
		// The signal that ended the context was handed on: the container
		// decides what it means.
		canceled = nil
	}
	var r copied
	select {
	case r = <-ch:
	case <-canceled:
		_ = a.Detach()
		n.end()
		return ctx.Err()
	case <-n.insisted:
		_ = a.Detach()
		n.end()
		return errs.WithHint(ErrInsisted, "the container goes on; proa kill %s ends it", c.Name)
	}
	n.end()
	if errs.Is(r.err, errs.Canceled) {
		if n.left.Load() {
			n.detached()
		}
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if r.err != nil {
		return e.lostMonitor(ctx, c, r.err)
	}
	if err := failpoint.Hit(FailpointExitSeen); err != nil {
		return err
	}
	if err := e.settleExit(ctx, c, &r.exit); err != nil {
		return err
	}
	e.keepIDHint(&r)
	if r.exit.Refused != nil {
		return r.exit.Refused.Err()
	}
	return exitError(r.exit.Code)
}

func exitError(code int) error {
	if code == 0 {
		return nil
	}
	return &errs.ExitError{Code: code}
}

// lostMonitor is the end of a session whose monitor is gone, or that could not
// write to the client.
func (e *Engine) lostMonitor(ctx context.Context, c *container, cause error) error {
	if !errs.Is(cause, errs.Unavailable) {
		return cause
	}
	if err := waitUnlocked(ctx, e.paths(c.ID)); err != nil {
		return err
	}
	db, err := e.db()
	if err != nil {
		return err
	}
	row, err := db.Get(c.ID)
	if err != nil {
		return err
	}
	if row == nil {
		return cause
	}
	code := 128 + int(syscall.SIGKILL)
	if x := readExit(e.dirs.Container(c.ID)); x != nil && lifecycle.Fresh(c.Record, observedExit(x)) {
		code = x.Code // it died after its work was done
	}
	now, err := e.reconcile(ctx, row)
	if now != nil {
		code = now.ExitCode
	}
	return errors.Join(err, exitError(code))
}

// settleExit brings the record up to date with the end that a monitor has
// told. It is the tail of every foreground run: two short transactions at most.
// On a full disk the next command does it; the end is known all the same.
func (e *Engine) settleExit(ctx context.Context, c *container, x *monitor.Exit) error {
	err := e.storeExit(ctx, c, x)
	if ballast.Full(err) {
		e.notice(err.Error())
		err = nil
	}
	if err != nil {
		return err
	}
	return failpoint.Hit(FailpointExitSettled)
}

// removeEnded removes a --rm container whose end is known. Others that see the
// end do the same: who has the lock does it.
func (e *Engine) removeEnded(ctx context.Context, row *state.Container) error {
	lock, err := rundir.Lock(e.paths(row.ID))
	if errs.Is(err, errs.State) {
		return waitUnlocked(ctx, e.paths(row.ID))
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := e.obliterate(ctx, row, true); err != nil {
		return err
	}
	return os.RemoveAll(e.dirs.ContainerRun(row.ID))
}

func (e *Engine) storeExit(ctx context.Context, c *container, x *monitor.Exit) error {
	db, err := e.db()
	if err != nil {
		return err
	}
	if c.AutoRemove {
		return e.removeEnded(ctx, c.Container)
	}
	next, _ := lifecycle.Reconcile(c.Record, false, lifecycle.Observed{Exit: observedExit(x)})
	if next == c.Record {
		return nil
	}
	// A record that somebody else has changed is settled already.
	_, err = db.Update(c.Container, next, dieEvent(c.Container, next))
	return err
}
