// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/monitor"
)

// Logger is a container's log driver. Calls never overlap.
type Logger interface {
	// Write logs one line without its line feed, or with partial a piece of a
	// line that goes on. stream is "stdout" or "stderr"; line is valid during
	// the call.
	Write(stream string, line []byte, partial bool, t time.Time) error
	// Flush makes what was written visible to readers; it is called when no
	// more output is at hand.
	Flush() error
	// Close flushes and lets go of the log. It is called once.
	Close() error
}

// maxLogLine is where a line is logged in pieces, as Docker does it.
const maxLogLine = 16 << 10

// hub takes the output of the container's process to the log and to every
// attached client, and the clients' input to the process.
//
// A client that reads slowly holds the process up: that is how a foreground
// run loses no byte. A client that is gone makes the write fail and is
// forgotten.
type hub struct {
	mu      sync.Mutex
	clients []*client
	first   chan struct{} // closed at the first attach
	seen    bool

	logMu sync.Mutex
	log   Logger // may be nil
	lines [3][]byte
	// logErr is the first failure of the log driver.
	logErr error

	inMu  sync.Mutex
	stdin *os.File // of the present run: the pipe's write end or the pty master
	tty   bool
}

// client is one attachment.
type client struct {
	conn           *monitor.Conn
	stdout, stderr bool
	// turn orders replays: output goes out only after the reply was sent.
	turn sync.Mutex
}

func newHub(log Logger) *hub { return &hub{log: log, first: make(chan struct{})} }

func (h *hub) attach(c *client) {
	h.mu.Lock()
	h.clients = append(h.clients, c)
	if !h.seen {
		h.seen = true
		close(h.first)
	}
	h.mu.Unlock()
}

func (h *hub) detach(c *client) {
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

// pump moves one stream of one run until its end.
func (h *hub) pump(f *os.File, stream monitor.FrameType) {
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
	h.endLine(stream)
}

func (h *hub) deliver(stream monitor.FrameType, p []byte) {
	h.logBytes(stream, p)
	h.mu.Lock()
	clients := h.clients
	h.mu.Unlock()
	for _, c := range clients {
		if stream == monitor.FrameStdout && !c.stdout || stream == monitor.FrameStderr && !c.stderr {
			continue
		}
		c.turn.Lock()
		err := c.conn.Write(stream, p)
		c.turn.Unlock()
		if err != nil {
			h.detach(c)
			c.conn.Close()
		}
	}
}

func streamName(s monitor.FrameType) string {
	if s == monitor.FrameStderr {
		return "stderr"
	}
	return "stdout"
}

// logBytes cuts the stream into lines.
func (h *hub) logBytes(stream monitor.FrameType, p []byte) {
	if h.log == nil {
		return
	}
	h.logMu.Lock()
	defer h.logMu.Unlock()
	now := time.Now()
	held := h.lines[stream]
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		piece, rest, partial := p, []byte(nil), true
		if i >= 0 {
			piece, rest, partial = p[:i], p[i+1:], false
		}
		if room := maxLogLine - len(held); len(piece) > room {
			piece, rest, partial = p[:room], p[room:], true
		}
		if partial && len(held)+len(piece) < maxLogLine {
			held = append(held, piece...)
			break
		}
		line := piece
		if len(held) > 0 {
			line = append(held, piece...)
			held = nil
		}
		h.logLine(stream, line, partial, now)
		p = rest
	}
	h.lines[stream] = held
	h.noteLog(h.log.Flush())
}

func (h *hub) logLine(stream monitor.FrameType, line []byte, partial bool, t time.Time) {
	h.noteLog(h.log.Write(streamName(stream), line, partial, t))
}

func (h *hub) noteLog(err error) {
	if err != nil && h.logErr == nil {
		h.logErr = err
	}
}

// endLine logs what a stream leaves without a line feed, as a piece: reading the
// log back must not invent one.
func (h *hub) endLine(stream monitor.FrameType) {
	if h.log == nil {
		return
	}
	h.logMu.Lock()
	defer h.logMu.Unlock()
	if held := h.lines[stream]; len(held) > 0 {
		h.lines[stream] = nil
		h.logLine(stream, held, true, time.Now())
		h.noteLog(h.log.Flush())
	}
}

// closeLog ends the log; the first failure the driver ever had comes back.
func (h *hub) closeLog() error {
	if h.log == nil {
		return nil
	}
	h.logMu.Lock()
	defer h.logMu.Unlock()
	h.noteLog(h.log.Close())
	h.log = nil
	return h.logErr
}

// setStdin names the present run's input; nil: none.
func (h *hub) setStdin(f *os.File, tty bool) {
	h.inMu.Lock()
	h.stdin, h.tty = f, tty
	h.inMu.Unlock()
}

// input writes a client's bytes to the process; without a process, or after
// the end of its input, they are dropped.
func (h *hub) input(p []byte) {
	h.inMu.Lock()
	f := h.stdin
	h.inMu.Unlock()
	if f != nil {
		_, _ = f.Write(p)
	}
}

// closeInput is the end of the process's input. A terminal stays open.
func (h *hub) closeInput() {
	h.inMu.Lock()
	defer h.inMu.Unlock()
	if h.stdin != nil && !h.tty {
		h.stdin.Close()
		h.stdin = nil
	}
}

// resize sets the size of the terminal, if there is one.
func (h *hub) resize(rows, cols uint16) {
	h.inMu.Lock()
	defer h.inMu.Unlock()
	if h.stdin == nil || !h.tty || rows == 0 || cols == 0 {
		return
	}
	_ = setSize(h.stdin, rows, cols)
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
