// SPDX-License-Identifier: Apache-2.0

// Package ports publishes a container's ports on the host. The monitor listens
// in the host's network namespace and connects, for each client, from inside
// the bridges' namespace with the client's own address: what the service logs
// is who really called.
package ports

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/fds"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// Set is the published ports of one container: bound by Listen, answered from
// Serve on. Each costs one parked goroutine and no thread.
type Set struct {
	ports []spec.Port
	tcp   []*net.TCPListener // with the same index as ports; nil for udp
	udp   []*net.UDPConn

	flows flowList
	wg    sync.WaitGroup
}

// Listen binds the ports in the calling process's network namespace. Either
// all are bound, or none and an error of kind InUse, Denied, Invalid or
// Unsupported says which and why. Until Serve is called, clients wait. The
// caller closes the set.
func Listen(ctx context.Context, ports []spec.Port) (*Set, error) {
	s := &Set{}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && uint64(len(ports))+fds.Reserved > limit.Cur {
		return nil, errs.WithHint(errs.New(errs.Unavailable,
			"cannot publish %d ports: a process may have %d open files here", len(ports), limit.Cur),
			"publish fewer, or raise the limit before: ulimit -n %d", len(ports)+2*fds.Reserved)
	}
	for _, p := range ports {
		if err := s.bind(ctx, p); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// Ports are the ports with the host ports that were chosen.
func (s *Set) Ports() []spec.Port { return s.ports }

func (s *Set) bind(ctx context.Context, p spec.Port) error {
	switch p.Protocol {
	case "tcp", "udp":
	case "sctp":
		return errs.WithHint(errs.New(errs.Unsupported, "cannot publish port %d/sctp: published ports are forwarded by connection, for tcp and udp only", p.ContainerPort),
			"let clients on the same network connect to the container's own address")
	default:
		return errs.New(errs.Invalid, "invalid protocol %q of port %d", p.Protocol, p.ContainerPort)
	}
	last := max(p.HostPortEnd, p.HostPort)
	var err error
	for port := int(p.HostPort); port <= int(last); port++ {
		chosen := p
		chosen.HostPort, chosen.HostPortEnd = uint16(port), 0
		if err = s.bindOne(ctx, chosen); err == nil || !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		return explain(p, err)
	}
	return nil
}

func (s *Set) bindOne(ctx context.Context, p spec.Port) error {
	addr := ":" + strconv.Itoa(int(p.HostPort))
	if p.HostIP.IsValid() {
		addr = netip.AddrPortFrom(p.HostIP, p.HostPort).String()
	}
	network := p.Protocol
	switch {
	case p.HostIP.Is4():
		network += "4"
	case p.HostIP.Is6():
		network += "6"
	}
	var lc net.ListenConfig
	// A multipath socket cannot be spliced, and the second hop has one path.
	lc.SetMultipathTCP(false)
	var port int
	if p.Protocol == "tcp" {
		l, err := lc.Listen(ctx, network, addr)
		if err != nil {
			return err
		}
		s.tcp, s.udp = append(s.tcp, l.(*net.TCPListener)), append(s.udp, nil)
		port = l.Addr().(*net.TCPAddr).Port
	} else {
		c, err := lc.ListenPacket(ctx, network, addr)
		if err != nil {
			return err
		}
		s.tcp, s.udp = append(s.tcp, nil), append(s.udp, c.(*net.UDPConn))
		port = c.LocalAddr().(*net.UDPAddr).Port
	}
	p.HostPort = uint16(port)
	s.ports = append(s.ports, p)
	return nil
}

func explain(p spec.Port, err error) error {
	host := "0.0.0.0"
	if p.HostIP.IsValid() {
		host = p.HostIP.String()
	}
	where := net.JoinHostPort(host, strconv.Itoa(int(p.HostPort)))
	ranged := p.HostPortEnd > p.HostPort
	if ranged {
		where += "-" + strconv.Itoa(int(p.HostPortEnd))
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		what := "port is already allocated"
		if ranged {
			what = "all ports are allocated"
		}
		return errs.WithHint(errs.New(errs.InUse, "Bind for %s failed: %s", where, what),
			"find who has it with: ss -lntup; or publish another port, for example -p %d:%d", Another(p), p.ContainerPort)
	case errors.Is(err, unix.EACCES):
		return errs.WithHint(errs.New(errs.Denied, "Bind for %s failed: ports below 1024 are reserved for root", where),
			"publish a port from 1024 on, or allow it: sudo sysctl net.ipv4.ip_unprivileged_port_start=%d", p.HostPort)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return errs.WithHint(errs.New(errs.Invalid, "Bind for %s failed: this host does not have the address", where),
			"choose one that ip addr shows, or omit it")
	}
	return &errs.Error{Op: fmt.Sprintf("publish port %s", where), Kind: errs.Internal, Err: err}
}

// Another finds a free port near that of p, for a hint.
func Another(p spec.Port) uint16 {
	first := max(p.HostPort, p.HostPortEnd)
	if first < 1024 {
		first += 7999
	}
	for n := first + 1; n > first && n-first <= 100; n++ {
		one := p
		one.HostPort, one.HostPortEnd = n, 0
		var s Set
		if s.bind(context.Background(), one) == nil {
			s.Close()
			return n
		}
	}
	return first + 1
}

// Close stops listening and ends every connection.
func (s *Set) Close() {
	s.flows.close()
	for i := range s.tcp {
		if s.tcp[i] != nil {
			s.tcp[i].Close()
		} else {
			s.udp[i].Close()
		}
	}
	s.wg.Wait()
}
