// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	dialTimeout = 30 * time.Second
	udpIdle     = 90 * time.Second
	udpFlows    = 4096
	tcpFlows    = 4096 // of all containers on the bridges: each takes a descriptor and two buffers
)

// forwarder carries what arrives in the stack on by sockets of the host.
type forwarder struct {
	config
	ctx   context.Context
	stack *stack.Stack
	flows atomic.Int64 // of UDP

	connections atomic.Int64
}

// destination translates an address that a container called; false: it is not
// to be reached.
func (f *forwarder) destination(id stack.TransportEndpointID) (netip.AddrPort, bool) {
	ip, ok := netip.AddrFromSlice(id.LocalAddress.AsSlice())
	if !ok {
		return netip.AddrPort{}, false
	}
	// An IPv6 frame may carry an IPv4 address: the host would call that one.
	ip = ip.Unmap()
	switch {
	case ip == f.host(), ip == host6:
		if !f.hostLoopback {
			return netip.AddrPort{}, false
		}
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case f.subnet.Contains(ip), guest6.Contains(ip), ip.IsLoopback(), ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast() && ip.Is6():
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, id.LocalPort), true
}

func (f *forwarder) tcp(r *tcp.ForwarderRequest) {
	dst, ok := f.destination(r.ID())
	if !ok || f.connections.Load() >= tcpFlows {
		r.Complete(true)
		return
	}
	f.connections.Add(1)
	defer f.connections.Add(-1)
	// The handshake waits for the other side's: a refused connection is
	// refused to the container as well.
	d := net.Dialer{Timeout: dialTimeout}
	d.SetMultipathTCP(false)
	out, err := d.DialContext(f.ctx, "tcp", dst.String())
	if err != nil {
		r.Complete(true)
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil {
		r.Complete(true)
		out.Close()
		return
	}
	r.Complete(false)
	ep.SocketOptions().SetDelayOption(false)
	join(gonet.NewTCPConn(&wq, ep), out.(*net.TCPConn))
}

// halfCloser is a connection whose directions end one by one.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

func join(a, b halfCloser) {
	done := make(chan struct{})
	go func() {
		pipe(a, b)
		close(done)
	}()
	pipe(b, a)
	<-done
	a.Close()
	b.Close()
}

func pipe(dst, src halfCloser) {
	if _, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 128<<10)); err != nil {
		dst.Close()
		src.Close()
		return
	}
	_ = dst.CloseWrite()
}

func (f *forwarder) udp(r *udp.ForwarderRequest) {
	dst, ok := f.destination(r.ID())
	if !ok || f.flows.Load() >= udpFlows {
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil {
		return
	}
	in := gonet.NewUDPConn(&wq, ep)
	out, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(dst))
	if err != nil {
		in.Close()
		return
	}
	f.flows.Add(1)
	go func() {
		defer f.flows.Add(-1)
		f.exchange(in, out)
	}()
}

// exchange carries datagrams both ways until neither side has said anything
// for a while.
func (f *forwarder) exchange(a, b net.Conn) {
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	done := make(chan struct{}, 2)
	copyPackets := func(dst, src net.Conn) {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 65535)
		for {
			left := udpIdle - time.Since(time.Unix(0, last.Load()))
			if left <= 0 {
				return
			}
			_ = src.SetReadDeadline(time.Now().Add(left))
			n, err := src.Read(buf)
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				continue
			}
			if err != nil {
				return
			}
			last.Store(time.Now().UnixNano())
			_, _ = dst.Write(buf[:n])
		}
	}
	go copyPackets(a, b)
	go copyPackets(b, a)
	<-done
	a.Close()
	b.Close()
	<-done
}

// Interfaces that gVisor's adapters must go on to satisfy.
var (
	_ halfCloser  = (*gonet.TCPConn)(nil)
	_ tcpip.Error = (*tcpip.ErrTimeout)(nil)
)
