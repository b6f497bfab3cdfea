// SPDX-License-Identifier: Apache-2.0

// Package dns is the name server of one container, on 127.0.0.11 in its network
// namespace: names of containers on the same networks come from the leases,
// everything else goes to the host's resolvers, asked from the host's own
// network namespace so that one on the host's loopback works too.
package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/fds"
	"github.com/proa-containers/proa/network/ipam"
	"github.com/proa-containers/proa/network/netns"
)

// Address is where the server listens in every container that has one.
var Address = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// Directory knows the containers of one network; *ipam.Names is one.
type Directory interface {
	Lookup(name string) []ipam.Record
	Owner(netip.Addr) (ipam.Record, bool)
}

// Config is what a server answers from. It does not change.
type Config struct {
	Networks []Directory
	// Servers are asked instead of the host's resolvers.
	Servers []netip.Addr
	// Inside tells which of Servers must be asked from the container's
	// namespace, through Worker: its own loopback, its networks' addresses.
	Inside func(netip.Addr) bool
	Worker *netns.Worker
	// HostFile is the host's resolv.conf; empty: /etc/resolv.conf.
	HostFile string
}

// Sockets are the server's ends, opened in the container's namespace.
type Sockets struct{ udp, tcp int }

// Open binds the server's address in the calling thread's namespace. The
// sockets are closed by Close of the server that Serve makes, or by Discard.
func Open() (Sockets, error) {
	s := Sockets{-1, -1}
	if err := s.bind(0); err != nil {
		return s, err
	}
	err := redirect(portOf(s.udp), portOf(s.tcp))
	if err == nil {
		return s, nil
	}
	// Without nftables the port itself: a service that wants port 53 of every
	// address is out of luck then.
	s.Discard()
	s = Sockets{-1, -1}
	return s, s.bind(53)
}

func portOf(fd int) uint16 {
	if sa, err := unix.Getsockname(fd); err == nil {
		if a, ok := sa.(*unix.SockaddrInet4); ok {
			return uint16(a.Port)
		}
	}
	return 0
}

func (s *Sockets) bind(port int) error {
	addr := &unix.SockaddrInet4{Port: port, Addr: Address.As4()}
	for _, k := range []struct {
		typ int
		fd  *int
	}{{unix.SOCK_DGRAM, &s.udp}, {unix.SOCK_STREAM, &s.tcp}} {
		fd, err := unix.Socket(unix.AF_INET, k.typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			*k.fd = fd
			err = unix.Bind(fd, addr)
		}
		if err == nil && k.typ == unix.SOCK_STREAM {
			err = unix.Listen(fd, 64)
		}
		if err != nil {
			s.Discard()
			return os.NewSyscallError("bind "+Address.String(), err)
		}
	}
	return nil
}

// Discard closes sockets that Serve was not called with.
func (s Sockets) Discard() {
	for _, fd := range []int{s.udp, s.tcp} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Server answers queries until Close. Idle, it is two parked goroutines.
type Server struct {
	cfg    Config
	udp    *os.File
	tcp    net.Listener
	host   hostResolvers
	port   uint16        // of resolvers
	slots  chan struct{} // bounds the queries in flight
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

const (
	maxUDP  = 4096
	tcpIdle = 10 * time.Second
)

// Serve starts answering on s, which it takes over even when it fails.
func Serve(s Sockets, cfg Config) (*Server, error) {
	tf := os.NewFile(uintptr(s.tcp), "dns")
	l, err := net.FileListener(tf)
	tf.Close()
	if err != nil {
		unix.Close(s.udp)
		return nil, err
	}
	if cfg.HostFile == "" {
		cfg.HostFile = "/etc/resolv.conf"
	}
	srv := &Server{cfg: cfg, udp: os.NewFile(uintptr(s.udp), "dns"), tcp: l,
		port: 53, host: hostResolvers{path: cfg.HostFile}, slots: make(chan struct{}, fds.Queries(fds.Limit()))}
	srv.ctx, srv.cancel = context.WithCancel(context.Background())
	srv.wg.Go(srv.serveUDP)
	srv.wg.Go(srv.serveTCP)
	return srv, nil
}

// Close ends the server and everything it has begun.
func (s *Server) Close() {
	s.cancel()
	s.udp.Close()
	s.tcp.Close()
	s.wg.Wait()
}

func (s *Server) serveUDP() {
	rc, err := s.udp.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Read(func(fd uintptr) bool {
		var buf [maxUDP]byte
		for {
			n, from, err := unix.Recvfrom(int(fd), buf[:], unix.MSG_DONTWAIT)
			if errors.Is(err, unix.EAGAIN) {
				return false
			}
			if err != nil || from == nil || n < 12 {
				continue
			}
			s.answerUDP(rc, append([]byte(nil), buf[:n]...), from)
		}
	})
}

func (s *Server) answerUDP(rc interface{ Control(func(uintptr)) error }, query []byte, from unix.Sockaddr) {
	select {
	case s.slots <- struct{}{}:
	default:
		return // the client asks again
	}
	s.wg.Go(func() {
		defer func() { <-s.slots }()
		if reply := s.answer(query, false); reply != nil {
			_ = rc.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), reply, unix.MSG_DONTWAIT, from) })
		}
	})
}

func (s *Server) serveTCP() {
	for {
		c, err := s.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		select {
		case s.slots <- struct{}{}:
			s.wg.Go(func() {
				defer func() { <-s.slots }()
				s.answerTCP(c)
			})
		default:
			c.Close()
		}
	}
}

func (s *Server) answerTCP(c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(s.ctx, func() { c.Close() })
	defer stop()
	for {
		_ = c.SetDeadline(time.Now().Add(tcpIdle))
		query, err := readFramed(c)
		if err != nil {
			return
		}
		reply := s.answer(query, true)
		if reply == nil || writeFramed(c, reply) != nil {
			return
		}
	}
}

// readFramed reads one message with its length in front, as over TCP.
func readFramed(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

func writeFramed(w io.Writer, msg []byte) error {
	if len(msg) > 65535 {
		return errors.New("dns message too long")
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	return err
}
