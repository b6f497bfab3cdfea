// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/dns"
	"github.com/proa-containers/proa/network/ipam"
	"github.com/proa-containers/proa/network/ports"
	"github.com/proa-containers/proa/network/rtnl"
	"github.com/proa-containers/proa/network/uplink"
	"github.com/proa-containers/proa/pkg/spec"
)

// wiring hangs a container into its bridges.
type wiring struct {
	plan      spec.NetworkPlan
	leases    []*ipam.Lease
	container *os.File

	bridge     *rtnl.Conn // in the bridges' namespace
	veths      []string   // its ends of the pairs
	dns        dns.Sockets
	keepSource error
}

// step is called in the bridges' namespace, then in the container's.
func (w *wiring) step(i int) error {
	if i == 0 {
		return w.outside()
	}
	return w.inside()
}

// vethName is a new name that fits into IFNAMSIZ. It has a random part: the
// same container's last interface may still be on its way out.
func (w *wiring) vethName(i int) string {
	return fmt.Sprintf("v%.6s%06x%d", w.plan.ID, rand.Uint32()&0xffffff, i)
}

func (w *wiring) outside() (err error) {
	if w.bridge, err = rtnl.Open(); err != nil {
		return err
	}
	if len(w.plan.Ports) > 0 {
		w.keepSource = ports.CanKeepSource(uplink.MarkForward)
	}
	for i, b := range w.plan.Bridges {
		master, err := w.ensureBridge(b, w.leases[i].First)
		if err != nil {
			return err
		}
		mac, err := net.ParseMAC(w.leases[i].MAC)
		if err != nil {
			return err
		}
		v := rtnl.Veth{Master: master, MTU: mtu(b), Peer: ifaceName(i), PeerNS: int(w.container.Fd()), MAC: mac}
		if err := w.addVeth(v, i); err != nil {
			return err
		}
	}
	return nil
}

func (w *wiring) addVeth(v rtnl.Veth, i int) error {
	for {
		v.Name = w.vethName(i)
		var batch rtnl.Batch
		batch.AddVeth(v)
		err := w.bridge.Do(&batch)
		// The other end's name is taken only in a namespace that is not fresh.
		if errors.Is(err, unix.EEXIST) && w.bridge.Exists(v.Name) {
			continue
		}
		if err == nil {
			w.veths = append(w.veths, v.Name)
		}
		return err
	}
}

func v6(b spec.BridgePlan) bool {
	return slices.ContainsFunc(b.Subnets, func(p netip.Prefix) bool { return p.Addr().Is6() })
}

func mtu(b spec.BridgePlan) int {
	if b.MTU > 0 {
		return b.MTU
	}
	return uplink.MTU
}

// ensureBridge finds the bridge, or makes it. The first container on a network
// also corrects one that an earlier network of that name has left.
func (w *wiring) ensureBridge(b spec.BridgePlan, first bool) (int, error) {
	br := rtnl.Bridge{Name: b.Iface, MTU: mtu(b), MAC: ipam.MACOf(b.Gateways[0])}
	if !b.Internal {
		br.Group = uplink.GroupOutbound
	}
	index, err := w.bridge.Index(b.Iface)
	if err != nil || (index != 0 && !first) {
		return index, err
	}
	var batch rtnl.Batch
	if index == 0 {
		batch.AddBridge(br)
		if v6(b) {
			batch.UpName(br.Name)
		} else {
			batch.UpNoIPv6(br.Name)
		}
		if err := w.bridge.Do(&batch); err != nil {
			return 0, err
		}
		if index, err = w.bridge.Index(b.Iface); err != nil || index == 0 {
			return 0, errors.Join(err, errors.New("bridge "+b.Iface+" vanished"))
		}
	} else if err := w.correctBridge(&batch, index, br, b); err != nil {
		return 0, err
	}
	for i, gw := range b.Gateways {
		batch.AddAddr(index, netip.PrefixFrom(gw, b.Subnets[i].Bits()))
	}
	return index, w.bridge.Do(&batch)
}

func (w *wiring) correctBridge(batch *rtnl.Batch, index int, br rtnl.Bridge, b spec.BridgePlan) error {
	batch.SetBridge(index, br)
	addrs, err := w.bridge.Addrs()
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if a.Index == index && !slices.Contains(b.Gateways, a.Prefix.Addr()) {
			batch.DelAddr(index, a.Prefix)
		}
	}
	return nil
}

func (w *wiring) inside() error {
	c, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	var batch rtnl.Batch
	batch.Up(1)
	out := outbound(w.plan)
	for i, b := range w.plan.Bridges {
		index, err := c.Index(ifaceName(i))
		if err != nil || index == 0 {
			return errors.Join(err, errors.New("interface "+ifaceName(i)+" vanished"))
		}
		if v6(b) {
			batch.Up(index)
		} else {
			batch.UpNoIPv6(ifaceName(i))
		}
		for j, addr := range w.leases[i].Addrs {
			batch.AddAddr(index, netip.PrefixFrom(addr, b.Subnets[j].Bits()))
			if i == out {
				batch.AddDefaultRoute(index, b.Gateways[j])
			}
		}
	}
	if err := c.Do(&batch); err != nil {
		return err
	}
	if err := w.plugIn(); err != nil {
		return err
	}
	for i := range w.plan.Bridges {
		c.WaitRunning(ifaceName(i))
	}
	w.dns, err = dns.Open()
	return err
}

// plugIn brings the bridges' ends up, after the container's: a port that comes
// up with its cable plugged in forwards at once.
func (w *wiring) plugIn() error {
	var batch rtnl.Batch
	for _, name := range w.veths {
		batch.UpNoIPv6(name)
	}
	if err := w.bridge.Do(&batch); err != nil {
		return err
	}
	w.bridge.WaitRunning(w.veths...)
	for _, b := range w.plan.Bridges {
		w.bridge.WaitRunning(b.Iface)
	}
	return nil
}

// remove takes the container off its bridges. The interfaces go with the
// container's namespace, a moment later.
func (w *wiring) remove() {
	if w.bridge == nil {
		return
	}
	var batch rtnl.Batch
	for _, name := range w.veths {
		batch.Detach(name)
	}
	_ = w.bridge.Do(&batch)
	w.bridge.Close()
	w.bridge = nil
}

// loopback brings lo up in the calling thread's namespace.
func loopback() error {
	c, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	var b rtnl.Batch
	b.Up(1)
	return c.Do(&b)
}

// hostAddress is the address with which the host shows itself to the world: a
// container reaches the host there. Zero when the host has only loopback.
func hostAddress() netip.Addr {
	for _, dst := range []string{"192.0.2.1", "2001:db8::1"} {
		// Connecting a datagram socket asks the routing table and sends
		// nothing.
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(dst), 9)))
		if err != nil {
			continue
		}
		ip := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		c.Close()
		if !ip.IsLoopback() {
			return ip
		}
	}
	return anyAddress()
}

// anyAddress serves hosts without a default route.
func anyAddress() netip.Addr {
	c, err := rtnl.Open()
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	addrs, err := c.Addrs()
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range addrs {
		if ip := a.Prefix.Addr(); a.Global && ip.Is4() && !ip.IsLoopback() {
			return ip
		}
	}
	return netip.Addr{}
}
