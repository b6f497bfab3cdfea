// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/proa-containers/proa/network/rtnl"
)

// link is the cable between the namespace and the stack: a tun device, or,
// where /dev/net/tun may not be opened, a veth pair whose other end is read
// through a packet socket.
type link struct {
	fd       int
	ethernet bool
}

// stackMAC is not the address of any interface: the kernel takes what is sent
// there for somebody else's and leaves it to the packet socket.
var stackMAC = net.HardwareAddr{0x02, 0x70, 0x72, 0x6f, 0x61, 0x02}

// open makes the interface in the calling thread's namespace.
func (l *link) open(c config) error {
	nl, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer nl.Close()
	l.fd, err = openTun(c.ifname)
	if err != nil {
		l.ethernet = true
		if l.fd, err = openPair(nl, c); err != nil {
			return err
		}
	}
	return configure(nl, c)
}

func openTun(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("ioctl(TUNSETIFF)", err)
	}
	return fd, nil
}

func openPair(nl *rtnl.Conn, c config) (int, error) {
	const other = "netstack0"
	var b rtnl.Batch
	b.DelLink(c.ifname)
	b.AddPair(c.ifname, other, c.mtu)
	b.UpNoIPv6(other)
	if err := nl.Do(&b); err != nil {
		return -1, err
	}
	index, err := nl.Index(other)
	if err != nil {
		return -1, err
	}
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
	if err != nil {
		return -1, os.NewSyscallError("socket(AF_PACKET)", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind(AF_PACKET)", err)
	}
	// What the stack sends goes out here too, and must not come back in.
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	return fd, nil
}

func configure(nl *rtnl.Conn, c config) error {
	index, err := nl.Index(c.ifname)
	if err != nil || index == 0 {
		return fmt.Errorf("interface %s vanished: %v", c.ifname, err)
	}
	var b rtnl.Batch
	b.SetMTU(index, c.mtu)
	b.AddAddr(index, netip.PrefixFrom(c.guest(), c.subnet.Bits()))
	b.AddDefaultRoute(index, c.host())
	if err := nl.Do(&b); err != nil {
		return err
	}
	b.AddAddr(index, guest6)
	b.AddDefaultRoute(index, host6)
	_ = nl.Do(&b) // a kernel without IPv6
	return nil
}

func (l *link) endpoint(c config) (stack.LinkEndpoint, error) {
	o := &fdbased.Options{FDs: []int{l.fd}, MTU: uint32(c.mtu), EthernetHeader: l.ethernet,
		// Both ends are this machine's memory.
		RXChecksumOffload: true}
	if l.ethernet {
		o.Address = tcpip.LinkAddress(stackMAC)
		o.PacketDispatchMode = fdbased.RecvMMsg
	}
	return fdbased.New(o)
}
