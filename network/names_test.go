// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/pkg/spec"
)

// lookup resolves as a process in the container would.
func (b *box) lookup(network, name string) string {
	r := net.Resolver{PreferGo: true, Dial: func(_ context.Context, _, _ string) (net.Conn, error) {
		return dialFrom(b.ns, network, "127.0.0.11:53")
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	ips, err := r.LookupIP(ctx, "ip4", name)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, ip := range ips {
		out = append(out, ip.String())
	}
	return strings.Join(out, " ")
}

func TestNamesOfContainers(t *testing.T) {
	w := newWorld(t)
	w.ensure()
	one, two := bridge("one", "proa1", "172.20.0.0/16"), bridge("two", "proa2", "172.21.0.0/16")
	one.Aliases = []string{"www"}
	pa := w.plan("a", one)
	a := w.attach(pa)
	one.Aliases = nil
	b, c := w.attach(w.plan("b", one)), w.attach(w.plan("c", two))
	for _, network := range []string{"udp", "tcp"} {
		for _, name := range []string{"a", "A.", "www", pa.ID[:12]} {
			if got := b.lookup(network, name); got != a.ip() {
				t.Errorf("%s %s: %s", network, name, got)
			}
		}
		if got := c.lookup(network, "a."); got == a.ip() {
			t.Error("the name of a container of another network is answered")
		}
	}
	if !slices.Equal(a.Attachment().Nameservers, []netip.Addr{netip.MustParseAddr("127.0.0.11")}) ||
		!slices.Equal(a.Attachment().Search, []string{"example.test"}) {
		t.Errorf("%+v", a.Attachment())
	}
	a.end()
	if got := b.lookup("udp", "a."); got == a.ip() {
		t.Error("a container that ended still has a name")
	}
}

// The host's resolver may be on its loopback, and --dns may be a container.
func TestForwardFromHostAndInside(t *testing.T) {
	w := newWorld(t)
	resolver(t, nil, "127.0.0.53:53", "192.0.2.1")
	w.write(w.resolv, "nameserver 127.0.0.53\n")
	w.ensure()
	a := w.attach(w.plan("a"))
	if got := a.lookup("udp", "example.test."); got != "192.0.2.1" {
		t.Error(got)
	}
	resolver(t, a.ns, ":53", "192.0.2.2") // port 53 of every address is free
	p := w.plan("b")
	p.DNS.Servers = []netip.Addr{netip.MustParseAddr(a.ip())}
	b := w.attach(p)
	if got := b.lookup("udp", "example.test."); got != "192.0.2.2" {
		t.Error(got)
	}
	if got := b.lookup("udp", "a."); got != a.ip() {
		t.Error("names beside --dns:", got)
	}
}

// resolver answers every A query with ip.
func resolver(t *testing.T, ns *os.File, addr, ip string) {
	t.Helper()
	var c net.PacketConn
	open := func(int) (err error) {
		c, err = net.ListenPacket("udp", addr)
		return err
	}
	var err error
	if ns == nil {
		err = open(0)
	} else {
		err = netns.Do(open, ns)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(ip).As4()},
			}}
			if reply, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(reply, from)
			}
		}
	}()
}

func TestModesWithoutBridge(t *testing.T) {
	w := newWorld(t)
	none := w.attach(spec.NetworkPlan{Mode: spec.NetNone, ID: "n"})
	if out, err := none.sh("ip", "-o", "link", "show", "up"); err != nil || !strings.Contains(out, " lo:") || strings.Count(out, "\n") != 1 {
		t.Errorf("none: %q, %v", out, err)
	}
	host := w.attach(spec.NetworkPlan{Mode: spec.NetHost, ID: "h"})
	if got := host.Attachment(); len(got.Nameservers) != 1 || got.Search[0] != "example.test" {
		t.Errorf("host: %+v", got)
	}
}

// private modes: the world outside, published ports, names of the host's
// resolvers.
func TestPrivateModes(t *testing.T) {
	for _, mode := range []spec.NetworkMode{spec.NetSlirp4netns, spec.NetPasta, spec.NetNetstack} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t)
			far := neighbour(t)
			listen(t, far, ":7000")
			resolver(t, nil, "127.0.0.53:53", "192.0.2.1")
			w.write(w.resolv, "nameserver 127.0.0.53\n")
			start := time.Now()
			a := w.attach(spec.NetworkPlan{Mode: mode, ID: "p", StateDir: w.dir,
				Ports: []spec.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}, {HostPort: 8080, ContainerPort: 80, Protocol: "udp"}}})
			t.Log("attach:", time.Since(start), a.Warnings())
			if got, err := ask(t, a.ns, "10.99.0.2:7000"); err != nil || !strings.HasPrefix(got, "10.99.0.1:") {
				t.Errorf("outside: %q, %v", got, err)
			}
			listen(t, a.ns, ":80")
			for ns, want := range map[*os.File]string{far: "10.99.0.2:", nil: a.ip() + ":"} {
				if got, err := ask(t, ns, "10.99.0.1:8080"); err != nil || !strings.HasPrefix(got, want) {
					t.Errorf("published port: %q, %v, want %s", got, err, want)
				}
			}
			listenUDP(t, a.ns, ":80")
			c, err := dialFrom(far, "udp", "10.99.0.1:8080")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = c.Write([]byte("x"))
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			if n, err := c.Read(make([]byte, 100)); err != nil || n == 0 {
				t.Error("udp:", err)
			}
			if got := a.lookup("udp", "example.test."); got != "192.0.2.1" {
				t.Error(got)
			}
		})
	}
}

// A socket that is bound to the interface sends to 127.0.0.1 and ::1 by the
// default route, and needs no rights for that: the host's loopback must not
// hear it.
func TestPrivateModesKeepLoopback(t *testing.T) {
	for _, mode := range []spec.NetworkMode{spec.NetSlirp4netns, spec.NetPasta, spec.NetNetstack} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t)
			neighbour(t)
			heard := make(chan string, 100)
			for _, addr := range []string{"127.0.0.1:7001", "127.1.2.3:7001", "[::1]:7001"} {
				hear(t, addr, heard)
			}
			a := w.attach(spec.NetworkPlan{Mode: mode, ID: "l", StateDir: w.dir})
			listen(t, a.ns, "127.0.0.1:7002")
			if got, err := ask(t, a.ns, "127.0.0.1:7002"); err != nil || !strings.HasPrefix(got, "127.0.0.1:") {
				t.Errorf("its own loopback: %q, %v", got, err)
			}
			err := netns.Do(func(int) error {
				for _, addr := range []string{"127.0.0.1:7001", "127.1.2.3:7001", "[::1]:7001"} {
					for _, n := range []string{"tcp", "udp"} {
						d := net.Dialer{Timeout: time.Second, Control: func(_, _ string, c syscall.RawConn) error {
							var err error
							_ = c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), privateTap) })
							return err
						}}
						if c, err := d.Dial(n, addr); err == nil {
							_, _ = c.Write([]byte("x"))
							c.Close()
						}
					}
				}
				return nil
			}, a.ns)
			if err != nil {
				t.Fatal(err)
			}
			select {
			case what := <-heard:
				t.Errorf("the host's loopback heard %s", what)
			case <-time.After(500 * time.Millisecond):
			}
		})
	}
}

// hear tells of every client of addr in this namespace.
func hear(t *testing.T, addr string, heard chan<- string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
			heard <- "tcp " + addr
		}
	}()
	go func() {
		for {
			if _, _, err := u.ReadFrom(make([]byte, 10)); err != nil {
				return
			}
			heard <- "udp " + addr
		}
	}()
}
