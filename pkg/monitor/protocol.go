// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/errs/wire"
)

// The protocol on RunDir/sock. One connection carries one request:
//
//	client                                         monitor
//	  Request  (JSON, with descriptors for exec) ->
//	                                           <-  Reply (JSON: error, or what was asked for;
//	                                                      with the pty master for exec -t)
//	attach:                                    <-  Stdout, Stderr: bytes (a terminal: Stdout)
//	  Stdin: bytes                             ->
//	  CloseStdin                               ->
//	  Resize (rows, cols)                      ->
//	  Signal (number)                          ->
//	  Detach, or just close                    ->
//	attach, wait, stop:                        <-  Exited (Exit JSON), after the last byte of output
//	  Settles, if the client settles the record ->
//	exec:                                      <-  Exited (only Code, Signal and Refused mean something)
//	  Signal (number)                          ->
//	  Detach: the terminal stays open without the client ->
//
// A frame is a header of eight bytes and a payload: type, three zero bytes,
// length of the payload (big endian). While the client that came with the launch
// is slow, the container's process waits, and no byte is lost; that ends with
// the process. Any other client may fall behind by some output, and is let go
// when it then takes nothing for some seconds. A client that closes its end
// stops counting at once; input that it has sent is still delivered, unless the
// process does not read it.
//
// Only the owner of the monitor may connect: the kernel tells the peer's uid.

// Bounds of a frame's payload in bytes. A longer one ends the connection.
const (
	MaxRequest = 4 << 20 // Request, Reply, Exited: JSON
	MaxStream  = 64 << 10
)

const headerSize = 8

// maxFDs is how many descriptors a frame may carry.
const maxFDs = 3

// FrameType is the first byte of a frame.
type FrameType byte

// The frame types. Stdin, stdout and stderr have the numbers of the streams.
const (
	FrameStdin      FrameType = 0
	FrameStdout     FrameType = 1
	FrameStderr     FrameType = 2
	FrameRequest    FrameType = 'Q'
	FrameReply      FrameType = 'R'
	FrameCloseStdin FrameType = 'C'
	FrameResize     FrameType = 'W'
	FrameSignal     FrameType = 'S'
	FrameDetach     FrameType = 'D'
	FrameExited     FrameType = 'X'
	FrameSettles    FrameType = 'K'
)

func (t FrameType) limit() (int, bool) {
	switch t {
	case FrameStdin, FrameStdout, FrameStderr:
		return MaxStream, true
	case FrameRequest, FrameReply, FrameExited:
		return MaxRequest, true
	case FrameResize, FrameSignal:
		return 4, true
	case FrameCloseStdin, FrameDetach, FrameSettles:
		return 0, true
	}
	return 0, false
}

// Op is what a Request asks for.
type Op string

const (
	OpStatus  Op = "status"
	OpAttach  Op = "attach"
	OpExec    Op = "exec"
	OpSignal  Op = "signal"
	OpStop    Op = "stop"
	OpPause   Op = "pause"
	OpUnpause Op = "unpause"
	OpWait    Op = "wait"
	OpResize  Op = "resize"
)

// Request is the first frame of a connection.
type Request struct {
	Op     Op             `json:"op"`
	Attach *AttachRequest `json:"attach,omitempty"`
	Exec   *ExecRequest   `json:"exec,omitempty"`
	// Signal is the number of OpSignal, or replaces the stop signal of OpStop
	// where not 0.
	Signal int `json:"signal,omitempty"`
	// Timeout is how long OpStop waits before it kills, in seconds; nil: as
	// configured; negative: for ever.
	Timeout *int `json:"timeout,omitempty"`
	// Remove says that OpStop comes from a removal.
	Remove bool `json:"remove,omitempty"`
	// Next makes OpWait end with the process, also where it will be restarted.
	Next       bool   `json:"next,omitempty"`
	Rows, Cols uint16 `json:",omitempty"` // OpResize
}

// RemovalBegun is why a container that is being removed cannot be started.
func RemovalBegun(name string) error {
	return errs.New(errs.State, "container %s is marked for removal and cannot be started", name)
}

// AttachRequest subscribes to the main process's streams.
type AttachRequest struct {
	Stdin  bool `json:"stdin,omitempty"`
	Stdout bool `json:"stdout,omitempty"`
	Stderr bool `json:"stderr,omitempty"`
	// Rows and Cols set the terminal's size; 0 leaves it alone.
	Rows uint16 `json:"rows,omitempty"`
	Cols uint16 `json:"cols,omitempty"`
}

// ExecRequest runs a further process in the container. Without TTY the request
// carries three descriptors (stdin, stdout, stderr), or none for /dev/null;
// with TTY the reply carries the pty's master.
type ExecRequest struct {
	Args       []string `json:"args"`
	Env        []string `json:"env,omitempty"`  // added to the container's
	Dir        string   `json:"dir,omitempty"`  // empty: the container's
	User       string   `json:"user,omitempty"` // empty: the container's
	TTY        bool     `json:"tty,omitempty"`
	Rows       uint16   `json:"rows,omitempty"`
	Cols       uint16   `json:"cols,omitempty"`
	Privileged bool     `json:"privileged,omitempty"`
}

// Reply answers a Request.
type Reply struct {
	Error  *wire.Error `json:"error,omitempty"`
	Status *Status     `json:"status,omitempty"` // status and attach
	PID    int         `json:"pid,omitempty"`    // exec: in the host's pid namespace, 0 if unknown
}

// Frame is one decoded frame. The payload is valid until the next Read.
type Frame struct {
	Type    FrameType
	Payload []byte
	FDs     []*os.File // the receiver closes them
}

// CloseFDs closes what came with the frame and was not taken.
func (f *Frame) CloseFDs() {
	CloseFiles(f.FDs)
	f.FDs = nil
}

// ErrFrame says that the peer does not speak the protocol.
var ErrFrame = errs.New(errs.Corrupt, "malformed message")

// parseHeader checks a frame header and returns the payload's length.
func parseHeader(h []byte) (FrameType, int, error) {
	t := FrameType(h[0])
	limit, ok := t.limit()
	n := binary.BigEndian.Uint32(h[4:8])
	if !ok || h[1] != 0 || h[2] != 0 || h[3] != 0 || int64(n) > int64(limit) {
		return 0, 0, ErrFrame
	}
	if (t == FrameResize || t == FrameSignal) && n != 4 {
		return 0, 0, ErrFrame
	}
	return t, int(n), nil
}

// Conn is one end of a connection. Reading belongs to one goroutine at a time,
// writing may be done by several.
type Conn struct {
	f   *os.File
	wmu sync.Mutex
	hdr [headerSize]byte // of the frame being read
}

// NewConn takes over a connected stream socket.
func NewConn(f *os.File) (*Conn, error) {
	// Handing the descriptor to the poller needs a non-blocking one, and
	// os.File decides that when it is made.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		f.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	f.Close()
	return NewConnFD(fd)
}

// NewConnFD takes over the descriptor of a connected stream socket.
func NewConnFD(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &Conn{f: os.NewFile(uintptr(fd), "monitor-socket")}, nil
}

// Close ends the connection; a blocked Read or Write returns.
func (c *Conn) Close() error { return c.f.Close() }

// SetDeadline bounds reads and writes that are waiting and to come.
func (c *Conn) SetDeadline(t time.Time) error { return c.f.SetDeadline(t) }

// SetWriteDeadline bounds writes alone.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.f.SetWriteDeadline(t) }

// PeerUID is the user at the other end, as this user namespace sees it.
func (c *Conn) PeerUID() (uint32, error) {
	var cred *unix.Ucred
	var err error
	raw, rerr := c.f.SyscallConn()
	if rerr != nil {
		return 0, rerr
	}
	if rerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); rerr != nil {
		return 0, rerr
	}
	if err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	return cred.Uid, nil
}

// Read returns the next frame. buf is used for the payload where it is large
// enough. io.EOF means that the peer closed between two frames.
func (c *Conn) Read(buf []byte) (Frame, error) {
	var fr Frame
	if err := c.readHeader(&fr); err != nil {
		fr.CloseFDs()
		return Frame{}, err
	}
	t, n, err := parseHeader(c.hdr[:])
	if err != nil || (len(fr.FDs) > 0 && t != FrameRequest && t != FrameReply) {
		fr.CloseFDs()
		return Frame{}, ErrFrame
	}
	if n > len(buf) {
		buf = make([]byte, n)
	}
	if _, err := io.ReadFull(c.f, buf[:n]); err != nil {
		fr.CloseFDs()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	fr.Type, fr.Payload = t, buf[:n]
	return fr, nil
}

// readHeader reads eight bytes and the descriptors that came with them: the
// kernel hands those out with the first byte they were sent with.
func (c *Conn) readHeader(fr *Frame) error {
	raw, err := c.f.SyscallConn()
	if err != nil {
		return err
	}
	oob := make([]byte, 64)
	for got := 0; got < headerSize; {
		var n, oobn, flags int
		var rerr error
		if err := raw.Read(func(fd uintptr) bool {
			n, oobn, flags, _, rerr = unix.Recvmsg(int(fd), c.hdr[got:], oob, unix.MSG_CMSG_CLOEXEC)
			return !errors.Is(rerr, unix.EAGAIN)
		}); err != nil {
			return err
		}
		if errors.Is(rerr, unix.EINTR) {
			continue
		}
		if rerr != nil {
			return os.NewSyscallError("recvmsg", rerr)
		}
		if oobn > 0 {
			if err := fr.takeFDs(oob[:oobn]); err != nil {
				return err
			}
		}
		if flags&unix.MSG_CTRUNC != 0 || len(fr.FDs) > maxFDs {
			return ErrFrame
		}
		if n == 0 {
			if got == 0 {
				return io.EOF
			}
			return io.ErrUnexpectedEOF
		}
		got += n
	}
	return nil
}

func (fr *Frame) takeFDs(oob []byte) error {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return ErrFrame
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // other control messages carry nothing to close
		}
		for _, fd := range fds {
			fr.FDs = append(fr.FDs, os.NewFile(uintptr(fd), "received"))
		}
	}
	return nil
}

// Write sends one frame whole; the caller keeps fds.
func (c *Conn) Write(t FrameType, payload []byte, fds ...*os.File) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	var hdr [headerSize]byte
	hdr[0] = byte(t)
	binary.BigEndian.PutUint32(hdr[4:], uint32(len(payload)))
	var oob []byte
	if len(fds) > 0 {
		nums := make([]int, len(fds))
		for i, f := range fds {
			nums[i] = int(f.Fd())
		}
		oob = unix.UnixRights(nums...)
	}
	return c.sendAll(hdr[:], payload, oob)
}

// AppendFrame adds a frame as it goes over the socket.
func AppendFrame(b []byte, t FrameType, payload []byte) []byte {
	b = append(b, byte(t), 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// WriteNow sends of a frame what the socket takes at once, and returns the rest:
// it has to go out, by WriteRaw, before any other frame.
func (c *Conn) WriteNow(t FrameType, payload []byte) (rest []byte, err error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	raw, err := c.f.SyscallConn()
	if err != nil {
		return nil, err
	}
	hdr := AppendFrame(make([]byte, 0, headerSize), t, nil)
	binary.BigEndian.PutUint32(hdr[4:], uint32(len(payload)))
	var n int
	var serr error
	if err := raw.Control(func(fd uintptr) {
		for {
			n, serr = unix.SendmsgBuffers(int(fd), [][]byte{hdr, payload}, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			if !errors.Is(serr, unix.EINTR) {
				return
			}
		}
	}); err != nil {
		return nil, err
	}
	switch {
	case errors.Is(serr, unix.EAGAIN):
		n = 0
	case serr != nil:
		return nil, os.NewSyscallError("sendmsg", serr)
	}
	if n == len(hdr)+len(payload) {
		return nil, nil
	}
	return append(append(rest, hdr[min(n, len(hdr)):]...), payload[max(0, n-len(hdr)):]...), nil
}

// WriteRaw sends bytes that are frames already.
func (c *Conn) WriteRaw(b []byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.sendAll(nil, b, nil)
}

// Unread is how many bytes the peer has not read yet.
func (c *Conn) Unread() int {
	n := 0
	if raw, err := c.f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	}
	return n
}

// HungUp reports whether the peer has closed its end. What it sent before can
// still be read.
func (c *Conn) HungUp() bool {
	raw, err := c.f.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	if err := raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		gone = err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	}); err != nil {
		return true
	}
	return gone
}

// sendAll sends header and payload in one system call where the socket takes
// them.
func (c *Conn) sendAll(hdr, payload, oob []byte) error {
	raw, err := c.f.SyscallConn()
	if err != nil {
		return err
	}
	for len(hdr) > 0 || len(payload) > 0 {
		bufs := [][]byte{hdr, payload}
		var n int
		var serr error
		if err := raw.Write(func(fd uintptr) bool {
			n, serr = unix.SendmsgBuffers(int(fd), bufs, oob, nil, unix.MSG_NOSIGNAL)
			return !errors.Is(serr, unix.EAGAIN)
		}); err != nil {
			return err
		}
		if errors.Is(serr, unix.EINTR) {
			continue
		}
		if serr != nil {
			return os.NewSyscallError("sendmsg", serr)
		}
		oob = nil // went with the first byte
		k := min(n, len(hdr))
		hdr, payload = hdr[k:], payload[n-k:]
	}
	return nil
}

// WriteJSON sends v as the payload of one frame.
func (c *Conn) WriteJSON(t FrameType, v any, fds ...*os.File) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if limit, _ := t.limit(); len(data) > limit {
		return errs.New(errs.Invalid, "message of %d bytes is longer than %d", len(data), limit)
	}
	return c.Write(t, data, fds...)
}

// Expect reads one frame of type t into v; its descriptors go to the caller.
func (c *Conn) Expect(t FrameType, v any) ([]*os.File, error) {
	fr, err := c.Read(nil)
	if err != nil {
		return nil, err
	}
	if fr.Type != t {
		fr.CloseFDs()
		return nil, fmt.Errorf("%w: type %q instead of %q", ErrFrame, fr.Type, t)
	}
	if err := json.Unmarshal(fr.Payload, v); err != nil {
		fr.CloseFDs()
		return nil, fmt.Errorf("%w: %v", ErrFrame, err)
	}
	return fr.FDs, nil
}

// ReadRequest reads the first frame of a connection; the caller closes the
// descriptors.
func (c *Conn) ReadRequest() (Request, []*os.File, error) {
	var r Request
	fds, err := c.Expect(FrameRequest, &r)
	return r, fds, err
}

// ParseResize decodes the payload of FrameResize.
func ParseResize(p []byte) (rows, cols uint16) {
	return binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])
}

// SignalPayload encodes a signal's number.
func SignalPayload(sig int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(sig)) }

// ParseSignal decodes the payload of FrameSignal.
func ParseSignal(p []byte) int { return int(binary.BigEndian.Uint32(p)) }

// CloseFiles closes files, nil or not.
func CloseFiles(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}
