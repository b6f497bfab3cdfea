// SPDX-License-Identifier: Apache-2.0

// Package client is the front end's side of a container's monitor: it starts the
// monitor and speaks to it over its socket.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
)

// Client is a connection to a live monitor. A connection carries one request:
// each method but Close uses the client up.
type Client struct {
	c      *monitor.Conn
	runDir string
}

// Dial connects to the monitor of runDir. A monitor that is not there, or has
// died, is an error of kind errs.State ("container is not running").
func Dial(runDir string) (*Client, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := connect(fd, runDir); err != nil {
		unix.Close(fd)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
			return nil, errs.New(errs.State, "container is not running")
		case errors.Is(err, unix.EACCES):
			return nil, errs.New(errs.Denied, "container belongs to another user")
		}
		return nil, errs.Wrap(err, "reach the monitor in", runDir)
	}
	c, err := monitor.NewConnFD(fd)
	if err != nil {
		return nil, err
	}
	return &Client{c, runDir}, nil
}

// connect reaches the socket through a descriptor of its directory: a socket
// address holds 108 bytes, a path under a long home directory more.
func connect(fd int, runDir string) error {
	dir, err := unix.Open(runDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: filepath.Join("/proc/self/fd", strconv.Itoa(dir), rundir.SocketFile)})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func newClient(f *os.File) (*Client, error) {
	c, err := monitor.NewConn(f)
	if err != nil {
		return nil, err
	}
	return &Client{c: c}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.c.Close() }

// ask sends a request and reads its reply. A context that ends closes the
// connection.
func (c *Client) ask(ctx context.Context, r monitor.Request, fds ...*os.File) (monitor.Reply, []*os.File, error) {
	stop := context.AfterFunc(ctx, func() { c.c.Close() })
	defer stop()
	var reply monitor.Reply
	err := c.c.WriteJSON(monitor.FrameRequest, r, fds...)
	var got []*os.File
	if err == nil {
		got, err = c.c.Expect(monitor.FrameReply, &reply)
	}
	if err != nil {
		return monitor.Reply{}, nil, c.failed(ctx, err)
	}
	if reply.Error != nil {
		monitor.CloseFiles(got)
		return monitor.Reply{}, nil, reply.Error.Err()
	}
	return reply, got, nil
}

func (c *Client) failed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return errs.New(errs.State, "container is not running")
	}
	return err
}

// Status asks a monitor what it is doing now.
func (c *Client) Status(ctx context.Context) (monitor.Status, error) {
	defer c.Close()
	r, _, err := c.ask(ctx, monitor.Request{Op: monitor.OpStatus})
	if err != nil {
		return monitor.Status{}, err
	}
	if r.Status == nil {
		return monitor.Status{}, monitor.ErrFrame
	}
	return *r.Status, nil
}

// Signal sends a signal to the container's process. A signal that ends it
// counts as the user's wish: unless-stopped and on-failure leave it down.
func (c *Client) Signal(ctx context.Context, sig int) error {
	defer c.Close()
	_, _, err := c.ask(ctx, monitor.Request{Op: monitor.OpSignal, Signal: sig})
	return err
}

// Resize sets the size of the main process's terminal.
func (c *Client) Resize(ctx context.Context, rows, cols uint16) error {
	defer c.Close()
	_, _, err := c.ask(ctx, monitor.Request{Op: monitor.OpResize, Rows: rows, Cols: cols})
	return err
}

// Pause freezes every process of the container.
func (c *Client) Pause(ctx context.Context) error {
	defer c.Close()
	_, _, err := c.ask(ctx, monitor.Request{Op: monitor.OpPause})
	return err
}

// Unpause thaws them.
func (c *Client) Unpause(ctx context.Context) error {
	defer c.Close()
	_, _, err := c.ask(ctx, monitor.Request{Op: monitor.OpUnpause})
	return err
}

// Stop asks the process to end (signal 0: as configured), kills it after
// timeout seconds (nil: as configured; negative: never), and waits for the end
// of the monitor's work: exit.json is written and, with AutoRemove, the
// writable layer is gone. settles says that the caller settles the record.
func (c *Client) Stop(ctx context.Context, sig int, timeout *int, settles bool) (monitor.Exit, error) {
	defer c.Close()
	return c.until(ctx, monitor.Request{Op: monitor.OpStop, Signal: sig, Timeout: timeout}, settles)
}

// StopToRemove is Stop for a container that will be removed: a start that is under
// way gives that as the reason why it comes to nothing.
func (c *Client) StopToRemove(ctx context.Context, timeout *int) (monitor.Exit, error) {
	defer c.Close()
	return c.until(ctx, monitor.Request{Op: monitor.OpStop, Timeout: timeout, Remove: true}, true)
}

// Wait waits until the container has ended for good (restarts do not count)
// and tells how. settles is as in Stop.
func (c *Client) Wait(ctx context.Context, settles bool) (monitor.Exit, error) {
	defer c.Close()
	return c.until(ctx, monitor.Request{Op: monitor.OpWait}, settles)
}

// WaitNext waits for the next end of the container's process, and tells how. The
// container may be restarted then; the caller does not settle its record.
func (c *Client) WaitNext(ctx context.Context) (monitor.Exit, error) {
	defer c.Close()
	return c.until(ctx, monitor.Request{Op: monitor.OpWait, Next: true}, false)
}

func (c *Client) until(ctx context.Context, r monitor.Request, settles bool) (monitor.Exit, error) {
	if _, _, err := c.ask(ctx, r); err != nil {
		return monitor.Exit{}, err
	}
	stop := context.AfterFunc(ctx, func() { c.c.Close() })
	defer stop()
	var e monitor.Exit
	if _, err := c.c.Expect(monitor.FrameExited, &e); err != nil {
		return monitor.Exit{}, c.failed(ctx, err)
	}
	if settles {
		_ = c.c.Write(monitor.FrameSettles, nil)
	}
	return e, nil
}

// Exec starts a further process. Without TTY, stdio is handed over: the
// container's process writes to these descriptors itself (nil: /dev/null). A
// command that cannot run is an error of kind errs.CommandMissing or
// errs.CannotInvoke. The returned Session uses up the client.
func (c *Client) Exec(ctx context.Context, r monitor.ExecRequest, stdio *[3]*os.File) (*Session, error) {
	var fds []*os.File
	if stdio != nil && !r.TTY {
		fds = stdio[:]
	}
	reply, got, err := c.ask(ctx, monitor.Request{Op: monitor.OpExec, Exec: &r}, fds...)
	if err != nil {
		c.Close()
		return nil, err
	}
	s := &Session{c: c, PID: reply.PID}
	if r.TTY {
		if len(got) != 1 {
			monitor.CloseFiles(got)
			c.Close()
			return nil, monitor.ErrFrame
		}
		s.Master = got[0]
	}
	return s, nil
}

// Session is a process started by Exec.
type Session struct {
	c   *Client
	PID int // in the host's pid namespace
	// Master is the terminal's master end with TTY: read, write and resize it
	// directly. The owner of the Session closes it.
	Master *os.File
}

// Signal sends a signal to the process.
func (s *Session) Signal(sig int) error {
	return s.c.c.Write(monitor.FrameSignal, monitor.SignalPayload(sig))
}

// Wait returns the exit status (128+n for a signal n), or why the kernel did not
// execute the program. It is called once.
func (s *Session) Wait(ctx context.Context) (int, error) {
	stop := context.AfterFunc(ctx, func() { s.c.Close() })
	defer stop()
	var e monitor.Exit
	if _, err := s.c.c.Expect(monitor.FrameExited, &e); err != nil {
		return 0, s.c.failed(ctx, err)
	}
	if e.Refused != nil {
		return e.Code, e.Refused.Err()
	}
	return e.Code, nil
}

// Detach lets the process live on when the session is closed: the monitor keeps
// its terminal open.
func (s *Session) Detach() error { return s.c.c.Write(monitor.FrameDetach, nil) }

// Close lets go of the process, which lives on unless it has a terminal that
// goes with Master: it is hung up then. It closes Master.
func (s *Session) Close() {
	monitor.CloseFiles([]*os.File{s.Master})
	s.c.Close()
}

// Attach subscribes to the main process's streams. The reply is awaited by
// Attachment.Copy, so that it can be sent before the monitor has begun to
// serve. The returned Attachment uses up the client.
func (c *Client) Attach(r monitor.AttachRequest) (*Attachment, error) {
	if err := c.c.WriteJSON(monitor.FrameRequest, monitor.Request{Op: monitor.OpAttach, Attach: &r}); err != nil {
		c.Close()
		return nil, c.failed(context.Background(), err)
	}
	return &Attachment{c: c}, nil
}

// Attachment is a subscription to the streams of a container's main process.
type Attachment struct {
	c *Client
	// SettlesRecord makes Copy tell the monitor at the end that the caller
	// settles the container's record.
	SettlesRecord bool
	// left is set before the monitor hears of it: the monitor may close its
	// end before we close ours, which looks like its death.
	left atomic.Bool
}

// Copy writes the process's output to out and errw (nil: dropped) until the
// container has ended for good, and then tells how. It returns an error of
// kind errs.Canceled after Detach or Close, one of kind errs.Unavailable when
// the monitor died, and the monitor's own when it refused.
func (a *Attachment) Copy(out, errw io.Writer) (monitor.Exit, error) {
	buf := make([]byte, monitor.MaxStream)
	for {
		fr, err := a.c.c.Read(buf)
		if err != nil {
			return monitor.Exit{}, a.ended(err)
		}
		switch fr.Type {
		case monitor.FrameStdout:
			err = writeAll(out, fr.Payload)
		case monitor.FrameStderr:
			err = writeAll(errw, fr.Payload)
		case monitor.FrameReply:
			err = replyError(fr.Payload)
		case monitor.FrameExited:
			var e monitor.Exit
			if err := json.Unmarshal(fr.Payload, &e); err != nil {
				return monitor.Exit{}, monitor.ErrFrame
			}
			if a.SettlesRecord {
				_ = a.c.c.Write(monitor.FrameSettles, nil)
			}
			return e, nil
		}
		fr.CloseFDs()
		if err != nil {
			return monitor.Exit{}, err
		}
	}
}

func (a *Attachment) ended(err error) error {
	if a.left.Load() || errors.Is(err, os.ErrClosed) {
		return errs.New(errs.Canceled, "detached")
	}
	if errors.Is(err, monitor.ErrFrame) {
		return err
	}
	if c, err := Dial(a.c.runDir); err == nil {
		c.Close()
		return errs.WithHint(errs.New(errs.State,
			"the container has gone on without this client, which did not read its output for too long"),
			"the log has the output: proa logs")
	}
	return errs.New(errs.Unavailable, "the container's monitor has died")
}

func writeAll(w io.Writer, p []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(p)
	return err
}

func replyError(p []byte) error {
	var r monitor.Reply
	if err := json.Unmarshal(p, &r); err != nil {
		return monitor.ErrFrame
	}
	if r.Error != nil {
		return r.Error.Err()
	}
	return nil
}

// Write sends bytes to the process's standard input.
func (a *Attachment) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		k := min(len(p)-n, monitor.MaxStream)
		if err := a.c.c.Write(monitor.FrameStdin, p[n:n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return len(p), nil
}

// CloseStdin says that no more input follows.
func (a *Attachment) CloseStdin() error { return a.c.c.Write(monitor.FrameCloseStdin, nil) }

// Resize sets the size of the process's terminal.
func (a *Attachment) Resize(rows, cols uint16) error {
	c, err := Dial(a.c.runDir)
	if err != nil {
		return err
	}
	return c.Resize(context.Background(), rows, cols)
}

// Signal sends a signal to the process. Like Resize it takes a connection of
// its own: input that the process does not read must not hold up Ctrl-C.
func (a *Attachment) Signal(sig int) error {
	c, err := Dial(a.c.runDir)
	if err != nil {
		return err
	}
	return c.Signal(context.Background(), sig)
}

// Detach leaves the container running and ends Copy.
func (a *Attachment) Detach() error {
	a.left.Store(true)
	_ = a.c.c.Write(monitor.FrameDetach, nil)
	return a.c.Close()
}

// Close ends the subscription, as Detach does.
func (a *Attachment) Close() error { return a.c.Close() }
