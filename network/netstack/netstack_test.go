// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"net/netip"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// What a container may reach through the host's sockets: the world, the host's
// loopback only with permission, and never the stack itself.
func TestDestination(t *testing.T) {
	for _, x := range []struct {
		addr string
		loop bool
		want string // "": refused
	}{
		{"192.0.2.7", false, "192.0.2.7:80"},
		{"2001:db8::7", false, "[2001:db8::7]:80"},
		{"10.0.2.2", false, ""},
		{"10.0.2.2", true, "127.0.0.1:80"},
		{"fd00:7072:6f61::2", true, "127.0.0.1:80"},
		{"10.0.2.99", true, ""},
		{"127.0.0.1", true, ""},
		{"0.0.0.0", true, ""},
		{"224.0.0.1", true, ""},
		{"fe80::1", true, ""},
		{"::1", true, ""},
		{"::ffff:0.0.0.0", true, ""},
		{"::ffff:127.0.0.1", true, ""},
		{"::ffff:10.0.2.2", false, ""},
		{"::ffff:192.0.2.7", false, "192.0.2.7:80"},
	} {
		f := forwarder{config: config{subnet: netip.MustParsePrefix("10.0.2.0/24"), hostLoopback: x.loop}}
		got, ok := f.destination(stack.TransportEndpointID{LocalPort: 80,
			LocalAddress: tcpip.AddrFromSlice(netip.MustParseAddr(x.addr).AsSlice())})
		if ok != (x.want != "") || (ok && got.String() != x.want) {
			t.Errorf("%s, loopback %v: %v %v, want %q", x.addr, x.loop, got, ok, x.want)
		}
	}
}

func TestParse(t *testing.T) {
	good := []string{"--netns-fd", "20", "--exit-fd", "3", "--ready-fd", "4", "--subnet", "10.0.3.0/24", "--mtu", "1500"}
	c, err := parse(good)
	if err != nil || c.guest().String() != "10.0.3.100" || c.host().String() != "10.0.3.2" || c.mtu != 1500 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"", "--subnet 10.0.2.0/30 --netns-fd 1 --exit-fd 1 --ready-fd 1",
		"--subnet fd00::/64 --netns-fd 1 --exit-fd 1 --ready-fd 1", "--nonsense"} {
		if _, err := parse(strings.Fields(bad)); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}
