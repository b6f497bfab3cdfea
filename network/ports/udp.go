// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// udpIdle is how long the way back to a silent client stays open.
	udpIdle = 90 * time.Second
	// udpSessions bounds the clients of one port that are remembered at a
	// time: each costs a descriptor, and source addresses can be forged.
	udpSessions = 1024
	maxDatagram = 65535
)

// buffers are shared by all ports: they are held while a datagram passes
// through, never while one waits for the next.
type buffers struct{ p sync.Pool }

func (b *buffers) get() *[maxDatagram]byte {
	if v, ok := b.p.Get().(*[maxDatagram]byte); ok {
		return v
	}
	return new([maxDatagram]byte)
}

// udpPort forwards one published UDP port.
type udpPort struct {
	conn   *net.UDPConn
	target Target
	port   uint16
	idle   time.Duration
	limit  int
	bufs   buffers

	mu       sync.Mutex
	sessions map[netip.AddrPort]*udpSession
	wg       sync.WaitGroup
}

// udpSession is one client's socket towards the container.
type udpSession struct {
	f      *os.File
	client unix.Sockaddr
	reply  []byte // control message: answer from the address that was called
	last   atomic.Int64
}

func newUDPPort(c *net.UDPConn, t Target, port uint16) *udpPort {
	return &udpPort{conn: c, target: t, port: port, idle: udpIdle, limit: udpSessions,
		sessions: map[netip.AddrPort]*udpSession{}}
}

// run forwards until the socket is closed.
func (u *udpPort) run() {
	defer u.wg.Wait()
	defer u.closeAll()
	rc, err := u.conn.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		// One of them fails, depending on the socket's family.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_PKTINFO, 1)
	})
	_ = rc.Read(func(fd uintptr) bool {
		b := u.bufs.get()
		defer u.bufs.p.Put(b)
		var oob [128]byte
		for {
			n, oobn, _, from, err := unix.Recvmsg(int(fd), b[:], oob[:], unix.MSG_DONTWAIT)
			if errors.Is(err, unix.EAGAIN) {
				return false
			}
			if err == nil && from != nil {
				u.toContainer(b[:n], oob[:oobn], from)
			}
		}
	})
}

func (u *udpPort) toContainer(data, oob []byte, from unix.Sockaddr) {
	client := fromSockaddr(from)
	s := u.session(client, from, oob)
	if s == nil {
		return
	}
	s.last.Store(time.Now().UnixNano())
	if rc, err := s.f.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			// A full queue drops, as the network would. "Refused" stands for an
			// earlier datagram: this one has not been sent yet.
			if err := unix.Send(int(fd), data, unix.MSG_DONTWAIT); errors.Is(err, unix.ECONNREFUSED) {
				_ = unix.Send(int(fd), data, unix.MSG_DONTWAIT)
			}
		})
	}
}

func (u *udpPort) session(client netip.AddrPort, from unix.Sockaddr, oob []byte) *udpSession {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s := u.sessions[client]; s != nil {
		return s
	}
	if len(u.sessions) >= u.limit {
		u.dropOldest()
	}
	local, reply := called(oob)
	f := u.open(client, local)
	if f == nil {
		return nil
	}
	s := &udpSession{f: f, client: from, reply: reply}
	s.last.Store(time.Now().UnixNano())
	u.sessions[client] = s
	u.wg.Go(func() { u.fromContainer(client, s) })
	return s
}

func (u *udpPort) open(client netip.AddrPort, local netip.Addr) *os.File {
	src, ip, keep := u.target.route(client, local, true)
	dst := netip.AddrPortFrom(ip, u.port)
	fd, err := u.target.open(unix.SOCK_DGRAM, src, dst, keep)
	if err != nil && keep {
		t := u.target
		t.Transparent = false
		src, _, _ = t.route(client, local, true)
		fd, err = t.open(unix.SOCK_DGRAM, src, dst, false)
	}
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "container")
}

// fromContainer carries the answers until the session has been idle for long
// enough, or is closed.
func (u *udpPort) fromContainer(client netip.AddrPort, s *udpSession) {
	defer u.drop(client, s)
	rc, err := s.f.SyscallConn()
	if err != nil {
		return
	}
	out, err := u.conn.SyscallConn()
	if err != nil {
		return
	}
	for {
		left := u.idle - time.Since(time.Unix(0, s.last.Load()))
		if left <= 0 {
			return
		}
		_ = s.f.SetReadDeadline(time.Now().Add(left))
		err := rc.Read(func(fd uintptr) bool { return u.drain(fd, out, s) })
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// drain passes on what has arrived; true ends the session.
func (u *udpPort) drain(fd uintptr, out interface{ Control(func(uintptr)) error }, s *udpSession) bool {
	b := u.bufs.get()
	defer u.bufs.p.Put(b)
	for {
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return false
		}
		if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EINTR) {
			continue // reading cleared the error of an earlier datagram
		}
		if err != nil {
			return true
		}
		s.last.Store(time.Now().UnixNano())
		_ = out.Control(func(o uintptr) {
			_ = unix.Sendmsg(int(o), b[:n], s.reply, s.client, unix.MSG_DONTWAIT)
		})
	}
}

func (u *udpPort) drop(client netip.AddrPort, s *udpSession) {
	u.mu.Lock()
	if u.sessions[client] == s {
		delete(u.sessions, client)
	}
	u.mu.Unlock()
	s.f.Close()
}

// dropOldest makes room; u.mu is held.
func (u *udpPort) dropOldest() {
	var oldest netip.AddrPort
	var victim *udpSession
	for a, s := range u.sessions {
		if victim == nil || s.last.Load() < victim.last.Load() {
			oldest, victim = a, s
		}
	}
	if victim != nil {
		delete(u.sessions, oldest)
		victim.f.Close()
	}
}

func (u *udpPort) closeAll() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for a, s := range u.sessions {
		delete(u.sessions, a)
		s.f.Close()
	}
}

func fromSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// called finds the address that a datagram was sent to, and makes the control
// message that sends the answer from there.
func called(oob []byte) (netip.Addr, []byte) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.Addr{}, nil
	}
	var local netip.Addr
	var reply []byte
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			info := *(*unix.Inet6Pktinfo)(unsafe.Pointer(&m.Data[0]))
			local = netip.AddrFrom16(info.Addr).Unmap()
			if !local.IsLinkLocalUnicast() {
				info.Ifindex = 0 // the answer may take another interface
			}
			return local, unix.PktInfo6(&info)
		case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			info := *(*unix.Inet4Pktinfo)(unsafe.Pointer(&m.Data[0]))
			local = netip.AddrFrom4(info.Spec_dst)
			info.Ifindex = 0
			reply = unix.PktInfo4(&info)
		}
	}
	return local, reply
}
