// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/spec"
)

func TestHostsFile(t *testing.T) {
	at := spec.Attachment{HostGateway: netip.MustParseAddr("10.0.2.2"),
		Interfaces: []spec.Interface{{Addrs: []netip.Prefix{netip.MustParsePrefix("172.17.0.2/16")}}}}
	f := monitor.Files{Host: "box", Domain: "example.org", ExtraHosts: []spec.HostEntry{{Name: "db", IP: "10.1.1.1"}, {Name: "up", IP: "host-gateway"}}}
	got := string(hostsFile(f, spec.NetBridge, at, nil))
	want := hostsHead + "10.1.1.1\tdb\n10.0.2.2\tup\n172.17.0.2\tbox.example.org box\n"
	if got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	got = string(hostsFile(f, spec.NetHost, spec.Attachment{}, []byte("127.0.0.1 localhost machine")))
	if got != "127.0.0.1 localhost machine\n10.1.1.1\tdb\n127.0.0.1\tup\n" {
		t.Errorf("with the host's network: %q", got)
	}
}

func TestResolvConf(t *testing.T) {
	own := []byte("# made by hand\nnameserver 192.0.2.1\nsearch lan\noptions edns0\n")
	addr := []netip.Addr{netip.MustParseAddr("127.0.0.11")}
	for _, c := range []struct {
		name string
		dns  spec.DNS
		at   spec.Attachment
		want string
	}{
		{"the host's", spec.DNS{}, spec.Attachment{}, "nameserver 192.0.2.1\nsearch lan\noptions edns0\n"},
		{"the network's", spec.DNS{}, spec.Attachment{Nameservers: addr, Search: []string{"net"}}, "options edns0\nsearch net\nnameserver 127.0.0.11\n"},
		{"the user's", spec.DNS{Servers: addr, Search: []string{"."}, Options: []string{"ndots:2"}}, spec.Attachment{}, "nameserver 127.0.0.11\noptions ndots:2\n"},
	} {
		if got := string(resolvConf(c.dns, c.at, own)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestIDMappings(t *testing.T) {
	r := spec.Rootfs{UIDMap: []spec.IDMap{{Inside: 0, Outside: 1000, Count: 1}}, GIDMap: []spec.IDMap{{Inside: 1, Outside: 2, Count: 3}, {Inside: 4, Outside: 5, Count: 6}}}
	if got := idMappings(r); !slices.Equal(got, []string{"uidmapping=0:1000:1", "gidmapping=1:2:3:4:5:6"}) {
		t.Error(got)
	}
	if got := idMappings(spec.Rootfs{}); len(got) != 0 {
		t.Error(got)
	}
}
