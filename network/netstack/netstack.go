// SPDX-License-Identifier: Apache-2.0

// Package netstack is the user-mode network stack for machines that have
// neither slirp4netns nor pasta: gVisor's TCP/IP on one side, ordinary sockets
// on the other. It runs as a process of its own; nothing else links it.
package netstack

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/proa-containers/proa/network/netns"
)

// config is the command line: descriptors are inherited.
type config struct {
	netnsFD, exitFD, readyFD int
	subnet                   netip.Prefix
	ifname                   string
	mtu                      int
	hostLoopback             bool
}

// host stands for the host itself, guest is the address of the interface.
func (c config) host() netip.Addr { return c.subnet.Masked().Addr().Next().Next() }

func (c config) guest() netip.Addr {
	a := c.subnet.Masked().Addr().As4()
	a[3] += 100
	return netip.AddrFrom4(a)
}

// IPv6 addresses of the same two.
var (
	host6  = netip.MustParseAddr("fd00:7072:6f61::2")
	guest6 = netip.MustParsePrefix("fd00:7072:6f61::64/64")
)

func parse(args []string) (config, error) {
	var c config
	fs := flag.NewFlagSet("netstack", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.IntVar(&c.netnsFD, "netns-fd", -1, "")
	fs.IntVar(&c.exitFD, "exit-fd", -1, "")
	fs.IntVar(&c.readyFD, "ready-fd", -1, "")
	fs.StringVar(&c.ifname, "interface", "tap0", "")
	fs.IntVar(&c.mtu, "mtu", 65520, "")
	fs.BoolVar(&c.hostLoopback, "host-loopback", false, "")
	subnet := fs.String("subnet", "10.0.2.0/24", "")
	if err := fs.Parse(args); err != nil {
		return c, fmt.Errorf("netstack: %w", err)
	}
	var err error
	c.subnet, err = netip.ParsePrefix(*subnet)
	if err != nil || !c.subnet.Addr().Is4() || c.subnet.Bits() > 25 {
		return c, fmt.Errorf("netstack: invalid subnet %q", *subnet)
	}
	if c.netnsFD < 0 || c.exitFD < 0 || c.readyFD < 0 {
		return c, errors.New("netstack is started by proa only")
	}
	return c, nil
}

// Main connects the network namespace given by --netns-fd until the writers
// of --exit-fd are gone. It writes "1" to --ready-fd when the interface is up.
func Main(ctx context.Context, args []string) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	ready := os.NewFile(uintptr(c.readyFD), "ready")
	ns := os.NewFile(uintptr(c.netnsFD), "netns")
	var l link
	if err := netns.Do(func(int) error { return l.open(c) }, ns); err != nil {
		return err
	}
	s, err := newStack(c, &l)
	if err != nil {
		return err
	}
	defer s.Destroy()
	f := forwarder{config: c, ctx: ctx, stack: s}
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s, 0, 4096, f.tcp).HandlePacket)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s, f.udp).HandlePacket)
	if _, err := ready.WriteString("1"); err != nil {
		return err
	}
	ready.Close()
	return wait(ctx, c.exitFD)
}

// wait returns when nobody holds the other end of fd any more.
func wait(ctx context.Context, fd int) error {
	hangup := make(chan error, 1)
	go func() {
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: 0}}, -1)
			if !errors.Is(err, unix.EINTR) {
				hangup <- err
				return
			}
		}
	}()
	select {
	case err := <-hangup:
		return err
	case <-ctx.Done():
		return nil
	}
}

const nic = 1

func newStack(c config, l *link) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	ep, err := l.endpoint(c)
	if err != nil {
		return nil, err
	}
	steps := []func() tcpip.Error{
		func() tcpip.Error { return s.CreateNIC(nic, ep) },
		// Every destination is ours to answer for.
		func() tcpip.Error { return s.SetPromiscuousMode(nic, true) },
		func() tcpip.Error { return s.SetSpoofing(nic, true) },
		func() tcpip.Error { return addAddress(s, c.host(), c.subnet.Bits(), ipv4.ProtocolNumber) },
		func() tcpip.Error { return addAddress(s, host6, guest6.Bits(), ipv6.ProtocolNumber) },
		func() tcpip.Error { return tune(s) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, fmt.Errorf("cannot set the network stack up: %s", err)
		}
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nic},
		{Destination: header.IPv6EmptySubnet, NIC: nic},
	})
	return s, nil
}

func addAddress(s *stack.Stack, a netip.Addr, bits int, proto tcpip.NetworkProtocolNumber) tcpip.Error {
	return s.AddProtocolAddress(nic, tcpip.ProtocolAddress{Protocol: proto,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(a.AsSlice()), PrefixLen: bits}},
		stack.AddressProperties{})
}

// tune lets windows grow: the other end is a memory copy away.
func tune(s *stack.Stack) tcpip.Error {
	const buffer, most = 1 << 20, 8 << 20
	rcv := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: buffer, Max: most}
	snd := tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: buffer, Max: most}
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	for _, o := range []tcpip.SettableTransportProtocolOption{&rcv, &snd, &sack, &moderate} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return err
		}
	}
	return nil
}
