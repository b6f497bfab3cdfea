// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/netns"
)

// Target is where a container's services listen, and from where to call them.
type Target struct {
	V4, V6 netip.Addr // of the container; zero: it has none
	// Gateway4 and Gateway6 are the source addresses of clients whose own
	// address cannot be kept: those on the host itself, those of the other
	// address family.
	Gateway4, Gateway6 netip.Addr
	// Worker calls from the namespace in which the addresses are reachable.
	Worker *netns.Worker
	// Transparent keeps the clients' addresses; Mark is put on the packets, so
	// that the namespace knows their answers. KeepUDP false limits it to tcp.
	Transparent bool
	KeepUDP     bool
	Mark        int
}

// connectTimeout is how long a container may take to accept: its namespace is
// on this machine, so only a full backlog or a packet filter takes longer than
// a moment.
const connectTimeout = 20 * time.Second

// route chooses the addresses of the second hop. An invalid source leaves the
// choice to the kernel.
func (t Target) route(client netip.AddrPort, local netip.Addr, udp bool) (src netip.AddrPort, dst netip.Addr, keep bool) {
	ip := client.Addr().Unmap()
	dst, gateway, same := t.V4, t.Gateway4, ip.Is4()
	if (ip.Is6() && t.V6.IsValid()) || !t.V4.IsValid() {
		dst, gateway, same = t.V6, t.Gateway6, ip.Is6()
	}
	keep = t.Transparent && same && (t.KeepUDP || !udp) && ip != local.Unmap() && ip != dst &&
		!ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !ip.IsMulticast()
	if keep {
		return netip.AddrPortFrom(ip, client.Port()), dst, true
	}
	return netip.AddrPortFrom(gateway, 0), dst, false
}

// open makes a socket in the target's namespace that is connected, or (tcp) on
// its way to be.
func (t Target) open(typ int, src netip.AddrPort, dst netip.AddrPort, keep bool) (fd int, err error) {
	fd = -1
	err = t.Worker.Do(func() error {
		family := unix.AF_INET
		if dst.Addr().Is6() {
			family = unix.AF_INET6
		}
		fd, err = unix.Socket(family, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		if keep {
			if err := transparent(fd, family, t.Mark); err != nil {
				return err
			}
		}
		if src.Addr().IsValid() {
			if err := unix.Bind(fd, sockaddr(src)); err != nil {
				return os.NewSyscallError("bind", err)
			}
		}
		err := unix.Connect(fd, sockaddr(dst))
		if err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return os.NewSyscallError("connect", err)
		}
		return nil
	})
	if err != nil && fd >= 0 {
		unix.Close(fd)
	}
	return fd, err
}

func transparent(fd, family, mark int) error {
	level, opt := unix.SOL_IP, unix.IP_TRANSPARENT
	if family == unix.AF_INET6 {
		level, opt = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	if err := unix.SetsockoptInt(fd, level, opt, 1); err != nil {
		return os.NewSyscallError("setsockopt(IP_TRANSPARENT)", err)
	}
	// One client may use one port of its own for several of ours.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt(SO_REUSEADDR)", err)
	}
	if mark == 0 {
		return nil
	}
	return os.NewSyscallError("setsockopt(SO_MARK)", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark))
}

// CanKeepSource tells whether the calling thread's namespace lets sockets have
// foreign addresses.
func CanKeepSource(mark int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	return transparent(fd, unix.AF_INET, mark)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// dial connects to port of the container for the given client. begun is told of
// the socket while it waits, and of its end (nil).
func (t Target) dial(client netip.AddrPort, local netip.Addr, port uint16, begun func(*os.File)) (*net.TCPConn, error) {
	src, ip, keep := t.route(client, local, false)
	dst := netip.AddrPortFrom(ip, port)
	c, err := t.dialFrom(src, dst, keep, begun)
	if keep && (errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL)) {
		// The same pair of addresses is still closing from an earlier
		// connection: better a foreign address than none.
		t.Transparent = false
		src, _, _ = t.route(client, local, false)
		return t.dialFrom(src, dst, false, begun)
	}
	return c, err
}

func (t Target) dialFrom(src, dst netip.AddrPort, keep bool, begun func(*os.File)) (*net.TCPConn, error) {
	fd, err := t.open(unix.SOCK_STREAM, src, dst, keep)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "container")
	defer f.Close()
	if err := f.SetWriteDeadline(time.Now().Add(connectTimeout)); err != nil {
		return nil, err
	}
	begun(f)
	err = connected(f)
	begun(nil)
	if err != nil {
		return nil, err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// connected waits for the end of a connect that is on its way.
func connected(f *os.File) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var fail error
	err = rc.Write(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(p, 0); n == 0 || errors.Is(err, unix.EINTR) {
			return false
		}
		errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			err = unix.Errno(errno)
		}
		fail = os.NewSyscallError("connect", err)
		return true
	})
	return errors.Join(err, fail)
}
