// SPDX-License-Identifier: Apache-2.0

// Package rtnl speaks just enough rtnetlink to put containers on a bridge:
// many requests in one system call, and nothing kept afterwards. The general
// purpose library opens a socket per request and allocates 64 KB per answer,
// which a monitor would carry in its heap for the container's whole life.
package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Conn is a netlink socket. It belongs to the network namespace of the thread
// that opened it and works from any thread afterwards. Not safe for
// concurrent use.
type Conn struct {
	fd  int
	seq uint32
}

// Open makes a socket in the calling thread's network namespace.
func Open() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket(NETLINK_ROUTE)", err)
	}
	// Short answers, with the kernel's own words where it has some. Old kernels
	// that know neither option answer in full: still correct.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind(NETLINK_ROUTE)", err)
	}
	return &Conn{fd: fd}, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// Batch is a list of requests that Do sends in one system call. The kernel
// works through them in order and does not stop at a failure.
type Batch struct {
	buf  []byte
	reqs []request
}

type request struct {
	what   string
	ignore []unix.Errno
}

// Error is a request that the kernel refused.
type Error struct {
	What  string // "add address 172.17.0.2/16"
	Errno unix.Errno
	Text  string // the kernel's explanation, if it gave one
}

func (e *Error) Error() string {
	if e.Text != "" {
		return fmt.Sprintf("%s: %v (%s)", e.What, e.Errno, e.Text)
	}
	return fmt.Sprintf("%s: %v", e.What, e.Errno)
}

func (e *Error) Unwrap() error { return e.Errno }

// request starts a message; body appends its payload.
func (b *Batch) request(what string, typ, flags uint16, ignore []unix.Errno, body func()) {
	start := len(b.buf)
	b.buf = append(b.buf, make([]byte, unix.SizeofNlMsghdr)...)
	body()
	h := b.buf[start:]
	binary.NativeEndian.PutUint32(h[0:], uint32(len(h)))
	binary.NativeEndian.PutUint16(h[4:], typ)
	binary.NativeEndian.PutUint16(h[6:], flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b.pad()
	b.reqs = append(b.reqs, request{what, ignore})
}

func (b *Batch) pad() {
	for len(b.buf)%4 != 0 {
		b.buf = append(b.buf, 0)
	}
}

func (b *Batch) attr(typ uint16, data []byte) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(4+len(data)))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = append(b.buf, data...)
	b.pad()
}

func (b *Batch) attrString(typ uint16, s string) { b.attr(typ, append([]byte(s), 0)) }

func (b *Batch) attrU32(typ uint16, v uint32) {
	b.attr(typ, binary.NativeEndian.AppendUint32(nil, v))
}

func (b *Batch) nested(typ uint16, body func()) {
	start := len(b.buf)
	b.buf = append(b.buf, 0, 0, 0, 0)
	body()
	binary.NativeEndian.PutUint16(b.buf[start:], uint16(len(b.buf)-start))
	binary.NativeEndian.PutUint16(b.buf[start+2:], typ)
}

// Do sends the batch, waits for every answer and returns the first failure
// that its request did not allow. The batch is empty afterwards.
func (c *Conn) Do(b *Batch) error {
	if len(b.reqs) == 0 {
		return nil
	}
	first := c.seq + 1
	for off := 0; off < len(b.buf); {
		c.seq++
		binary.NativeEndian.PutUint32(b.buf[off+8:], c.seq)
		n := int(binary.NativeEndian.Uint32(b.buf[off:]))
		off += (n + 3) &^ 3
	}
	reqs, buf := b.reqs, b.buf
	b.reqs, b.buf = nil, nil
	if err := unix.Sendto(c.fd, buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("netlink send", err)
	}
	var fail error
	err := c.receive(first, len(reqs), func(i int, errno unix.Errno, text string) {
		if errno == 0 || fail != nil {
			return
		}
		for _, ok := range reqs[i].ignore {
			if errno == ok {
				return
			}
		}
		fail = &Error{What: reqs[i].what, Errno: errno, Text: text}
	})
	if err != nil {
		return err
	}
	return fail
}

func (c *Conn) receive(first uint32, want int, each func(int, unix.Errno, string)) error {
	var buf [8192]byte
	for got := 0; got < want; {
		n, err := recv(c.fd, buf[:])
		if err != nil {
			return err
		}
		for m := range messages(buf[:n]) {
			if m.typ != unix.NLMSG_ERROR || m.seq < first || m.seq >= first+uint32(want) {
				continue
			}
			errno, text := m.errno()
			each(int(m.seq-first), errno, text)
			got++
		}
	}
	return nil
}

func recv(fd int, buf []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return n, os.NewSyscallError("netlink receive", err)
	}
}

type message struct {
	typ, flags uint16
	seq        uint32
	data       []byte
}

// messages walks the messages in buf; what is malformed ends the walk.
func messages(buf []byte) func(func(message) bool) {
	return func(yield func(message) bool) {
		for len(buf) >= unix.SizeofNlMsghdr {
			n := int(binary.NativeEndian.Uint32(buf))
			if n < unix.SizeofNlMsghdr || n > len(buf) {
				return
			}
			m := message{
				typ:   binary.NativeEndian.Uint16(buf[4:]),
				flags: binary.NativeEndian.Uint16(buf[6:]),
				seq:   binary.NativeEndian.Uint32(buf[8:]),
				data:  buf[unix.SizeofNlMsghdr:n],
			}
			if !yield(m) {
				return
			}
			buf = buf[min((n+3)&^3, len(buf)):]
		}
	}
}

// errno reads an NLMSG_ERROR: the number, and the text that NETLINK_EXT_ACK
// puts behind the (capped) copy of the request's header.
func (m message) errno() (unix.Errno, string) {
	if len(m.data) < 4 {
		return unix.EPROTO, ""
	}
	errno := unix.Errno(-int32(binary.NativeEndian.Uint32(m.data)))
	if m.flags&unix.NLM_F_ACK_TLVS == 0 || len(m.data) < 4+unix.SizeofNlMsghdr {
		return errno, ""
	}
	rest := m.data[4+unix.SizeofNlMsghdr:]
	if m.flags&unix.NLM_F_CAPPED == 0 {
		n := int(binary.NativeEndian.Uint32(m.data[4:])) - unix.SizeofNlMsghdr
		if n < 0 || n > len(rest) {
			return errno, ""
		}
		rest = rest[min((n+3)&^3, len(rest)):]
	}
	for typ, val := range attributes(rest) {
		if typ == 1 && len(val) > 0 { // NLMSGERR_ATTR_MSG
			return errno, string(val[:len(val)-1])
		}
	}
	return errno, ""
}

func attributes(buf []byte) func(func(uint16, []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(buf) >= 4 {
			n := int(binary.NativeEndian.Uint16(buf))
			if n < 4 || n > len(buf) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(buf[2:])&nlaTypeMask, buf[4:n]) {
				return
			}
			buf = buf[min((n+3)&^3, len(buf)):]
		}
	}
}
