// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/fds"
)

// Serve answers clients from now on, until Close. It does not block and is
// called once.
func (s *Set) Serve(t Target) {
	n := 0
	for i := range s.ports {
		if s.udp[i] != nil {
			n++
		}
	}
	flows, sessions := shares(fds.ForPorts(fds.Limit()), len(s.ports)-n, n)
	s.flows.init(flows)
	for i, p := range s.ports {
		if l := s.tcp[i]; l != nil {
			s.wg.Go(func() { s.accept(l, t, p.ContainerPort) })
		} else {
			u := newUDPPort(s.udp[i], t, p.ContainerPort)
			u.limit = sessions
			s.wg.Go(u.run)
		}
	}
}

func (s *Set) accept(l *net.TCPListener, t Target, port uint16) {
	for {
		c, err := l.AcceptTCP()
		switch {
		case err == nil:
			e := s.flows.add(c)
			if e == nil {
				c.Close()
				return
			}
			go func() {
				defer s.flows.remove(e)
				e.Value.(*flow).forward(t, port)
			}()
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
			// The backlog holds the client until a descriptor is free.
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (f *flow) forward(t Target, port uint16) {
	client := f.client
	server, err := t.dial(addrPort(client.RemoteAddr()), addrPort(client.LocalAddr()).Addr(), port, f.dialing)
	if err != nil {
		// Nobody listens there: a reset is as near to "refused" as a
		// connection that was accepted already can get.
		reset(client)
		return
	}
	if !f.connected(server) {
		server.Close()
		client.Close()
		return
	}
	done := make(chan struct{})
	go func() {
		pipe(server, client)
		close(done)
	}()
	pipe(client, server)
	<-done
	client.Close()
	server.Close()
}

// pipe moves bytes until src ends and says so to dst, whose own direction goes
// on. A failure ends both directions, as it would without us in between.
func pipe(dst, src *net.TCPConn) {
	// Between two TCP sockets the copy is a splice in the kernel: the bytes
	// never come here, and a slow reader slows the writer down.
	if _, err := io.Copy(dst, src); err != nil {
		reset(dst)
		reset(src)
		return
	}
	_ = dst.CloseWrite()
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
