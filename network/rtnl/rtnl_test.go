// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/netnstest"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

func open(t *testing.T) *Conn {
	t.Helper()
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestBridgeAddressesAndRoutes(t *testing.T) {
	c := open(t)
	mac, _ := net.ParseMAC("02:42:ac:11:00:01")
	var b Batch
	b.Up(1)
	for range 2 { // the second time nothing changes
		b.AddBridge(Bridge{Name: "br1", MAC: mac, MTU: 9000, Group: 1})
		b.UpNoIPv6("br1")
	}
	if err := c.Do(&b); err != nil {
		t.Fatal(err)
	}
	i, err := c.Index("br1")
	if err != nil || i == 0 || !c.Exists("br1") || c.Exists("br2") {
		t.Fatal(i, err)
	}
	p := netip.MustParsePrefix("172.17.0.1/16")
	b.AddAddr(i, p)
	b.AddAddr(i, netip.MustParsePrefix("fd00:17::1/64"))
	b.AddDefaultRoute(i, netip.MustParseAddr("172.17.0.9"))
	for range 2 {
		b.AddLocalTable(false, 0x10)
		b.AddLocalTable(true, 0x10)
	}
	b.AddLocalReplies(false, 80)
	if err := c.Do(&b); err != nil {
		t.Fatal(err)
	}
	checkLists(t, c, i, p)
	b.DelAddr(i, p)
	b.DelLink("br1")
	b.DelLink("br1")
	if err := c.Do(&b); err != nil || c.Exists("br1") {
		t.Error(err)
	}
}

func checkLists(t *testing.T, c *Conn, index int, want netip.Prefix) {
	t.Helper()
	addrs, err := c.Addrs()
	found := false
	for _, a := range addrs {
		found = found || (a.Index == index && a.Prefix == want && a.Global)
	}
	if err != nil || !found {
		t.Errorf("%+v, %v", addrs, err)
	}
	routes, err := c.Routes()
	found = false
	for _, r := range routes {
		found = found || (r.Dst.Bits() == 0 && r.Gateway.String() == "172.17.0.9" && r.Index == index)
	}
	if err != nil || !found {
		t.Errorf("%+v, %v", routes, err)
	}
}

// The first failure of a batch is reported, with what was tried; the others
// are done all the same.
func TestErrors(t *testing.T) {
	c := open(t)
	var b Batch
	b.Up(9999)
	b.Up(1)
	b.Up(9998)
	err := c.Do(&b)
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, unix.ENODEV) || e.What == "" {
		t.Errorf("%v", err)
	}
	if err := c.Do(&b); err != nil {
		t.Error("an empty batch:", err)
	}
}

// FuzzMessages: whatever a socket delivers, the parsers return.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, data []byte) {
		for m := range messages(data) {
			m.errno()
			for range attributes(m.data) {
			}
		}
	})
}
