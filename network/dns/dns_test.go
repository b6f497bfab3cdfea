// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/proa-containers/proa/network/ipam"
)

// zone is a Directory of fixed containers.
type zone []ipam.Record

func (z zone) Lookup(name string) (out []ipam.Record) {
	for _, r := range z {
		if strings.EqualFold(r.Name, name) {
			out = append(out, r)
		}
	}
	return out
}

func (z zone) Owner(a netip.Addr) (ipam.Record, bool) {
	for _, r := range z {
		if slices.Contains(r.Addrs, a) {
			return r, true
		}
	}
	return ipam.Record{}, false
}

// testPort stands for 53, which only root may have.
const testPort = 15353

func server(t testing.TB, resolv string) *Server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return &Server{port: testPort, ctx: ctx, cancel: cancel, host: hostResolvers{path: resolv}, cfg: Config{Networks: []Directory{zone{
		{Name: "web", Addrs: []netip.Addr{netip.MustParseAddr("172.17.0.2"), netip.MustParseAddr("fd00:17::2")}},
		{Name: "db", Addrs: []netip.Addr{netip.MustParseAddr("172.17.0.3")}},
	}, zone{{Name: "web", Addrs: []netip.Addr{netip.MustParseAddr("172.18.0.9")}}}}}}
}

func query(t testing.TB, name string, typ dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 77, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}}}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// show renders a reply as "RCODE answer answer".
func show(t testing.TB, reply []byte) string {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(reply); err != nil {
		return "broken: " + err.Error()
	}
	out := strings.TrimPrefix(m.RCode.String(), "RCode")
	for _, a := range m.Answers {
		switch b := a.Body.(type) {
		case *dnsmessage.AResource:
			out += " " + netip.AddrFrom4(b.A).String()
		case *dnsmessage.AAAAResource:
			out += " " + netip.AddrFrom16(b.AAAA).String()
		case *dnsmessage.PTRResource:
			out += " " + b.PTR.String()
		}
	}
	return out
}

func TestLocalNames(t *testing.T) {
	// Nobody listens on this resolver: what is not local fails.
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 127.0.0.254\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := server(t, resolv)
	for _, x := range []struct {
		name string
		typ  dnsmessage.Type
		want string
	}{
		{"web.", dnsmessage.TypeA, "Success 172.17.0.2 172.18.0.9"},
		{"WeB.", dnsmessage.TypeA, "Success 172.17.0.2 172.18.0.9"},
		{"web.", dnsmessage.TypeAAAA, "Success fd00:17::2"},
		{"db.", dnsmessage.TypeAAAA, "Success"}, // no data, not "no such name"
		{"db.", dnsmessage.TypeMX, "Success"},
		{"2.0.17.172.in-addr.arpa.", dnsmessage.TypePTR, "Success web."},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.1.0.0.0.0.d.f.ip6.arpa.", dnsmessage.TypePTR, "Success web."},
		{"other.", dnsmessage.TypeA, "ServerFailure"},
	} {
		if got := show(t, s.answer(query(t, x.name, x.typ), false)); got != x.want {
			t.Errorf("%s %v: %s, want %s", x.name, x.typ, got, x.want)
		}
	}
}

// fakeResolver answers every A query with its own address.
func fakeResolver(t *testing.T, ip string, reply func(q []byte) []byte) {
	t.Helper()
	c, err := net.ListenPacket("udp", fmt.Sprintf("%s:%d", ip, testPort))
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
			if r := reply(buf[:n]); r != nil {
				_, _ = c.WriteTo(r, from)
			}
		}
	}()
}

func answerWith(code dnsmessage.RCode, ip string) func([]byte) []byte {
	return func(q []byte) []byte {
		var m dnsmessage.Message
		if m.Unpack(q) != nil {
			return nil
		}
		m.Response, m.RCode, m.Additionals = true, code, nil
		if ip != "" {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(ip).As4()},
			}}
		}
		b, err := m.Pack()
		if err != nil {
			return nil
		}
		return b
	}
}

// The resolvers are asked in order, a broken one is passed over, and a change
// of the file is seen at once.
func TestForward(t *testing.T) {
	fakeResolver(t, "127.0.0.21", answerWith(dnsmessage.RCodeSuccess, "192.0.2.21"))
	fakeResolver(t, "127.0.0.22", answerWith(dnsmessage.RCodeServerFailure, ""))
	fakeResolver(t, "127.0.0.23", answerWith(dnsmessage.RCodeNameError, ""))
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	s := server(t, resolv)
	for i, x := range []struct{ conf, want string }{
		{"nameserver 127.0.0.21\n", "Success 192.0.2.21"},
		{"nameserver 127.0.0.22\nnameserver 127.0.0.21\n", "Success 192.0.2.21"},
		{"nameserver 127.0.0.99\nnameserver 127.0.0.21\n", "Success 192.0.2.21"},
		{"nameserver 127.0.0.23\nnameserver 127.0.0.21\n", "NameError"},
		{"nameserver 127.0.0.22\n", "ServerFailure"},
	} {
		if err := os.WriteFile(resolv, []byte(x.conf+strings.Repeat("#", i)), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := show(t, s.answer(query(t, "example.test.", dnsmessage.TypeA), false)); got != x.want {
			t.Errorf("%q: %s, want %s", x.conf, got, x.want)
		}
	}
	s.cfg.Servers = []netip.Addr{netip.MustParseAddr("127.0.0.23")}
	if got := show(t, s.answer(query(t, "example.test.", dnsmessage.TypeA), false)); got != "NameError" {
		t.Error("--dns:", got)
	}
}

// A resolver that never answers costs its own time-out, not the query.
func TestForwardSilentServer(t *testing.T) {
	fakeResolver(t, "127.0.0.24", func([]byte) []byte { return nil })
	fakeResolver(t, "127.0.0.25", answerWith(dnsmessage.RCodeSuccess, "192.0.2.25"))
	s := server(t, "")
	s.cfg.Servers = []netip.Addr{netip.MustParseAddr("127.0.0.24"), netip.MustParseAddr("127.0.0.25")}
	start := time.Now()
	got := show(t, s.answer(query(t, "example.test.", dnsmessage.TypeA), false))
	if got != "Success 192.0.2.25" || time.Since(start) > 4*time.Second {
		t.Errorf("%s after %v", got, time.Since(start))
	}
}

func TestReverse(t *testing.T) {
	for name, want := range map[string]string{
		"2.0.17.172.in-addr.arpa":             "172.17.0.2",
		"2.0.17.172.IN-ADDR.ARPA":             "172.17.0.2",
		"0.17.172.in-addr.arpa":               "",
		"x.0.17.172.in-addr.arpa":             "",
		"web":                                 "",
		"1.ip6.arpa":                          "",
		strings.Repeat("0.", 32) + "ip6.arpa": "::",
	} {
		a, ok := reverse(name)
		if ok != (want != "") || (ok && a.String() != want) {
			t.Errorf("%s: %v %v, want %s", name, a, ok, want)
		}
	}
}

func TestParse(t *testing.T) {
	r := Parse([]byte("# x\nnameserver 1.1.1.1\nnameserver fe80::1%eth0\nnameserver bad\nsearch a b\noptions ndots:2 edns0\n;nameserver 2.2.2.2\nnameserver\n"))
	if got := fmt.Sprint(r); got != "{[1.1.1.1 fe80::1%eth0] [a b] [ndots:2 edns0]}" {
		t.Error(got)
	}
}

// FuzzAnswer: foreign bytes never crash the server, and what it says about
// itself can be read.
func FuzzAnswer(f *testing.F) {
	f.Add(query(f, "web.", dnsmessage.TypeA))
	f.Add(query(f, "2.0.17.172.in-addr.arpa.", dnsmessage.TypePTR))
	f.Add([]byte("short"))
	f.Add(append(query(f, "db.", dnsmessage.TypeAAAA), 0xc0, 0x0c))
	s := server(f, "")
	s.cfg.Servers = []netip.Addr{} // nobody is asked
	s.host.path = "/nonexistent"
	f.Fuzz(func(t *testing.T, msg []byte) {
		reply := s.answer(msg, false)
		if reply == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(reply); err != nil {
			t.Fatalf("unreadable reply: %v", err)
		}
		if !m.Response || reply[0] != msg[0] || reply[1] != msg[1] {
			t.Fatal("not the answer to the query")
		}
	})
}

// FuzzReply: foreign replies are judged without a crash.
func FuzzReply(f *testing.F) {
	q := query(f, "web.", dnsmessage.TypeA)
	f.Add(q)
	question := dnsmessage.Question{Name: dnsmessage.MustNewName("web."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	f.Fuzz(func(_ *testing.T, reply []byte) { answers(reply, q, question) })
}
