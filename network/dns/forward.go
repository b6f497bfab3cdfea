// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

const (
	serverTimeout = 2 * time.Second // for one server, then the next one
	queryTimeout  = 5 * time.Second // for all of them: clients give up then
)

// forward asks the resolvers one after the other; nil: none answered.
func (s *Server) forward(query []byte, q dnsmessage.Question, tcp bool) []byte {
	ctx, cancel := context.WithTimeout(s.ctx, queryTimeout)
	defer cancel()
	servers := s.cfg.Servers
	if len(servers) == 0 {
		servers = s.host.servers()
	}
	var last []byte
	for _, srv := range servers {
		reply := s.ask(ctx, srv, query, tcp)
		if reply == nil || !answers(reply, query, q) {
			continue
		}
		// A resolver that is broken or refuses is worth a look at the next one.
		if code := reply[3] & 0xf; code == byte(dnsmessage.RCodeServerFailure) || code == byte(dnsmessage.RCodeRefused) {
			last = reply
			continue
		}
		return reply
	}
	return last
}

// answers guards against strangers' datagrams: same id, same question.
func answers(reply, query []byte, q dnsmessage.Question) bool {
	if len(reply) < 12 || reply[0] != query[0] || reply[1] != query[1] || reply[2]&0x80 == 0 {
		return false
	}
	var p dnsmessage.Parser
	if _, err := p.Start(reply); err != nil {
		return false
	}
	got, err := p.Question()
	if err != nil {
		return reply[3]&0xf != 0 // some servers send errors without the question
	}
	return got.Type == q.Type && got.Class == q.Class && strings.EqualFold(got.Name.String(), q.Name.String())
}

func (s *Server) ask(ctx context.Context, srv netip.Addr, query []byte, tcp bool) []byte {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	to := netip.AddrPortFrom(srv, s.port)
	if tcp {
		return s.askTCP(ctx, to, query)
	}
	c, err := s.dial(ctx, unix.SOCK_DGRAM, to)
	if err != nil {
		return nil
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.Write(query); err != nil {
		return nil
	}
	buf := make([]byte, maxUDP)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil
		}
		// What is too long for a datagram reaches the client as "truncated":
		// it asks again over TCP, and so do we.
		if n >= 12 && buf[0] == query[0] && buf[1] == query[1] {
			return buf[:n]
		}
	}
}

func (s *Server) askTCP(ctx context.Context, to netip.AddrPort, query []byte) []byte {
	c, err := s.dial(ctx, unix.SOCK_STREAM, to)
	if err != nil {
		return nil
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if writeFramed(c, query) != nil {
		return nil
	}
	reply, err := readFramed(c)
	if err != nil {
		return nil
	}
	return reply
}

// dial connects from the host's namespace, or from the container's.
func (s *Server) dial(ctx context.Context, typ int, to netip.AddrPort) (net.Conn, error) {
	if s.cfg.Inside != nil && s.cfg.Inside(to.Addr()) {
		return s.dialInside(ctx, typ, to)
	}
	network := "udp"
	if typ == unix.SOCK_STREAM {
		network = "tcp"
	}
	var d net.Dialer
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, network, to.String())
}

func (s *Server) dialInside(ctx context.Context, typ int, to netip.AddrPort) (net.Conn, error) {
	var f *os.File
	err := s.cfg.Worker.Do(func() error {
		family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
		if to.Addr().Is4() {
			family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
		}
		fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), "resolver")
		if err := unix.Connect(fd, sa); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return err
		}
		return nil
	})
	if f != nil {
		defer f.Close()
	}
	if err != nil {
		return nil, err
	}
	// An unfinished connect shows as the first write that waits for it.
	return net.FileConn(f)
}

// hostResolvers are the name servers of a resolv.conf, read again when the
// file has changed: after a suspend, in another Wi-Fi.
type hostResolvers struct {
	path string

	mu     sync.Mutex
	seen   os.FileInfo
	parsed []netip.Addr
}

func (h *hostResolvers) servers() []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	fi, err := os.Stat(h.path)
	if err != nil {
		return h.parsed
	}
	if h.seen != nil && os.SameFile(fi, h.seen) && fi.ModTime().Equal(h.seen.ModTime()) && fi.Size() == h.seen.Size() {
		return h.parsed
	}
	data, err := os.ReadFile(h.path)
	if err != nil {
		return h.parsed
	}
	h.parsed = Parse(data).Servers
	// A file without any stands for the local machine, says resolv.conf(5).
	if len(h.parsed) == 0 {
		h.parsed = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	h.seen = fi
	return h.parsed
}

// ResolvConf is what a resolv.conf says.
type ResolvConf struct {
	Servers []netip.Addr
	Search  []string
	Options []string
}

// Parse reads a resolv.conf, leniently as libc does.
func Parse(data []byte) ResolvConf {
	var r ResolvConf
	for line := range bytes.Lines(data) {
		f := strings.Fields(string(line))
		if len(f) < 2 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], ";") {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil {
				r.Servers = append(r.Servers, a)
			}
		case "search":
			r.Search = f[1:]
		case "domain":
			r.Search = f[1:2]
		case "options":
			r.Options = append(r.Options, f[1:]...)
		}
	}
	return r
}
