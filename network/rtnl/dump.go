// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Route is one entry of the main routing table.
type Route struct {
	Dst     netip.Prefix // the zero-length prefix for a default route
	Gateway netip.Addr   // zero: directly connected
	Prefer  netip.Addr   // source address it suggests, if any
	Index   int          // of the interface
}

// Addr is one address of an interface.
type Addr struct {
	Index  int
	Prefix netip.Prefix
	Global bool // of global scope
}

// Routes lists the unicast routes of the main table.
func (c *Conn) Routes() ([]Route, error) {
	var out []Route
	err := c.dump(unix.RTM_GETROUTE, unix.SizeofRtMsg, func(m message) {
		if len(m.data) < unix.SizeofRtMsg || m.data[7] != unix.RTN_UNICAST {
			return
		}
		table := uint32(m.data[4])
		r := Route{}
		dst, bits := netip.Addr{}, int(m.data[1])
		for typ, v := range attributes(m.data[unix.SizeofRtMsg:]) {
			switch typ {
			case unix.RTA_DST:
				dst, _ = netip.AddrFromSlice(v)
			case unix.RTA_GATEWAY:
				r.Gateway, _ = netip.AddrFromSlice(v)
			case unix.RTA_PREFSRC:
				r.Prefer, _ = netip.AddrFromSlice(v)
			case unix.RTA_OIF:
				r.Index = int(u32(v))
			case unix.RTA_TABLE:
				table = u32(v)
			}
		}
		if table != unix.RT_TABLE_MAIN {
			return
		}
		if !dst.IsValid() {
			dst = netip.IPv4Unspecified()
			if m.data[0] == unix.AF_INET6 {
				dst = netip.IPv6Unspecified()
			}
		}
		r.Dst = netip.PrefixFrom(dst, bits)
		out = append(out, r)
	})
	return out, err
}

// Addrs lists the addresses of all interfaces.
func (c *Conn) Addrs() ([]Addr, error) {
	var out []Addr
	err := c.dump(unix.RTM_GETADDR, unix.SizeofIfAddrmsg, func(m message) {
		if len(m.data) < unix.SizeofIfAddrmsg {
			return
		}
		a := Addr{Index: int(u32(m.data[4:8])), Global: m.data[3] == unix.RT_SCOPE_UNIVERSE}
		var local, addr netip.Addr
		for typ, v := range attributes(m.data[unix.SizeofIfAddrmsg:]) {
			switch typ {
			case unix.IFA_LOCAL:
				local, _ = netip.AddrFromSlice(v)
			case unix.IFA_ADDRESS:
				addr, _ = netip.AddrFromSlice(v)
			}
		}
		if local.IsValid() {
			addr = local
		}
		a.Prefix = netip.PrefixFrom(addr, int(m.data[1]))
		out = append(out, a)
	})
	return out, err
}

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func (c *Conn) dump(typ uint16, headerSize int, each func(message)) error {
	c.seq++
	req := make([]byte, unix.SizeofNlMsghdr+headerSize)
	binary.NativeEndian.PutUint32(req[0:], uint32(len(req)))
	binary.NativeEndian.PutUint16(req[4:], typ)
	binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(req[8:], c.seq)
	if err := unix.Sendto(c.fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("netlink send", err)
	}
	buf := make([]byte, 32768)
	for {
		n, err := recv(c.fd, buf)
		if err != nil {
			return err
		}
		for m := range messages(buf[:n]) {
			switch {
			case m.seq != c.seq:
			case m.typ == unix.NLMSG_DONE:
				return nil
			case m.typ == unix.NLMSG_ERROR:
				errno, text := m.errno()
				return &Error{What: "list", Errno: errno, Text: text}
			default:
				each(m)
			}
		}
	}
}
