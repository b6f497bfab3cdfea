// SPDX-License-Identifier: Apache-2.0

// Package stream decides who gets which bytes of a container: it takes the output of
// the process to the log and to the attached clients, and their input to the process.
package stream

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/monitor"
)

// Logger is a container's log driver. It may be called from the pumps of both
// streams at once.
type Logger interface {
	// Write logs what came out of a stream; p is not kept.
	Write(stderr bool, p []byte) error
	// End is the end of a stream of one run: an unfinished line is logged.
	End(stderr bool) error
	// Close lets go of the log. It is called once.
	Close() error
}

// Hub takes the output of the container's process to the log and to every
// attached client, and the clients' input to the process.
//
// What a slow client means for the process, client says.
type Hub struct {
	mu      sync.Mutex
	clients []*Client
	First   chan struct{} // closed at the first attach
	seen    bool
	ending  bool

	log Logger // may be nil
	// logErr is the first failure of the log driver.
	logMu  sync.Mutex
	logErr error

	inTurn     chan struct{} // held by who writes to stdin
	inMu       sync.Mutex
	stdin      *os.File // of the present run: the pipe's write end or the pty master
	tty        bool
	rows, cols uint16        // the size last asked for
	Running    chan struct{} // closed when the first run has its input
}

var errStalled = errors.New("the client has stopped reading")

func NewHub(log Logger) *Hub {
	return &Hub{log: log, First: make(chan struct{}), Running: make(chan struct{}), inTurn: make(chan struct{}, 1)}
}

func (h *Hub) attach(c *Client) {
	h.mu.Lock()
	h.clients = append(h.clients[:len(h.clients):len(h.clients)], c)
	c.ending = h.ending
	if !h.seen {
		h.seen = true
		close(h.First)
	}
	h.mu.Unlock()
}

// Admit attaches a client and gives it the reply before the first output.
func (h *Hub) Admit(c *Client, reply []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h.attach(c)
	_ = c.send(monitor.FrameReply, reply)
}

func (h *Hub) Detach(c *Client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, x := range h.clients {
		if x == c {
			h.clients = append(h.clients[:i:i], h.clients[i+1:]...)
			return
		}
	}
}

// bufs holds read buffers only while there is something to read: an idle
// container keeps none.
var bufs = sync.Pool{New: func() any { b := make([]byte, monitor.MaxStream); return &b }}

// Pump moves one stream of one run until its end.
func (h *Hub) Pump(f *os.File, stream monitor.FrameType) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	for {
		var buf *[]byte
		var n int
		var rerr error
		err := raw.Read(func(fd uintptr) bool {
			if buf == nil {
				buf = bufs.Get().(*[]byte)
			}
			n, rerr = unix.Read(int(fd), *buf)
			if errors.Is(rerr, syscall.EAGAIN) {
				bufs.Put(buf)
				buf = nil
				return false
			}
			return true
		})
		if err == nil && errors.Is(rerr, syscall.EINTR) {
			bufs.Put(buf)
			continue
		}
		// A pty's master says EIO when the last slave is closed.
		if err != nil || rerr != nil || n <= 0 {
			if buf != nil {
				bufs.Put(buf)
			}
			break
		}
		h.deliver(stream, (*buf)[:n])
		bufs.Put(buf)
	}
	if h.log != nil {
		h.noteLog(h.log.End(stream == monitor.FrameStderr))
	}
}

func (h *Hub) deliver(stream monitor.FrameType, p []byte) {
	if h.log != nil {
		h.noteLog(h.log.Write(stream == monitor.FrameStderr, p))
	}
	h.mu.Lock()
	clients := h.clients
	h.mu.Unlock()
	for _, c := range clients {
		if stream == monitor.FrameStdout && !c.stdout || stream == monitor.FrameStderr && !c.stderr {
			continue
		}
		if c.write(stream, p) != nil {
			h.Detach(c)
		}
	}
}

// SetEnding says whether the process of the present run has ended: its last
// output must not wait for a client.
func (h *Hub) SetEnding(on bool) {
	h.mu.Lock()
	clients := h.clients
	h.ending = on
	h.mu.Unlock()
	for _, c := range clients {
		c.setEnding(on)
	}
}

func (h *Hub) noteLog(err error) {
	if err == nil {
		return
	}
	h.logMu.Lock()
	defer h.logMu.Unlock()
	if h.logErr == nil {
		h.logErr = err
		fmt.Fprintln(os.Stderr, "proa-monitor: cannot log:", err)
	}
}

// CloseLog ends the log, after both pumps; the first failure the driver ever
// had comes back.
func (h *Hub) CloseLog() error {
	if h.log == nil {
		return nil
	}
	h.noteLog(h.log.Close())
	h.log = nil
	h.logMu.Lock()
	defer h.logMu.Unlock()
	return h.logErr
}

// SetStdin names the present run's input; nil: none.
func (h *Hub) SetStdin(f *os.File, tty bool) {
	h.inMu.Lock()
	defer h.inMu.Unlock()
	h.stdin, h.tty = f, tty
	select {
	case <-h.Running:
	default:
		close(h.Running)
	}
}

// CloseInput is the end of the process's input. A terminal stays open.
func (h *Hub) CloseInput() {
	h.inMu.Lock()
	defer h.inMu.Unlock()
	if h.stdin != nil && !h.tty {
		h.stdin.Close()
		h.stdin = nil
	}
}

// Resize sets the size of the terminal, if there is one.
func (h *Hub) Resize(rows, cols uint16) {
	h.inMu.Lock()
	defer h.inMu.Unlock()
	if rows == 0 || cols == 0 {
		return
	}
	h.rows, h.cols = rows, cols
	if h.stdin != nil && h.tty {
		_ = setSize(h.stdin, rows, cols)
	}
}

// Fit gives a new terminal the size that a client asked for before it was
// there.
func (h *Hub) Fit(master *os.File) {
	h.inMu.Lock()
	defer h.inMu.Unlock()
	if master != nil && h.rows > 0 {
		_ = setSize(master, h.rows, h.cols)
	}
}

func setSize(f *os.File, rows, cols uint16) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var ierr error
	err = raw.Control(func(fd uintptr) {
		ierr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	if err == nil {
		err = ierr
	}
	return err
}
