// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/network/uplink"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

func TestBridgeReachesWorld(t *testing.T) {
	for _, d := range []uplink.Driver{uplink.Slirp4netns, uplink.Pasta, uplink.Netstack} {
		t.Run(string(d), func(t *testing.T) {
			w := newWorld(t)
			w.driver = d
			far := neighbour(t)
			listen(t, far, ":7000")
			start := time.Now()
			w.ensure()
			t.Logf("uplink start: %v", time.Since(start))
			start = time.Now()
			a := w.attach(w.plan("a"))
			t.Logf("first attach: %v", time.Since(start))
			start = time.Now()
			b := w.attach(w.plan("b"))
			t.Logf("second attach: %v", time.Since(start))
			listen(t, b.ns, ":7001")
			if got, err := ask(t, a.ns, b.ip()+":7001"); err != nil || !strings.HasPrefix(got, a.ip()+":") {
				t.Errorf("container to container: %q, %v", got, err)
			}
			if got, err := ask(t, a.ns, "[fd00:17::3]:7001"); err != nil || !strings.HasPrefix(got, "[fd00:17::2]:") {
				t.Errorf("container to container, IPv6: %q, %v", got, err)
			}
			if got, err := ask(t, a.ns, "10.99.0.2:7000"); err != nil || !strings.HasPrefix(got, "10.99.0.1:") {
				out, _ := a.sh("sh", "-c", "ip addr; ip route; ip neigh")
				t.Errorf("outside: %q, %v\n%s", got, err, out)
			}
			if got, err := ask(t, a.ns, "[fd00:99::2]:7000"); err != nil {
				t.Logf("outside, IPv6: %q, %v", got, err)
			}
			if gw := a.Attachment().HostGateway.String(); gw != "10.99.0.1" {
				t.Errorf("host gateway %s", gw)
			}
		})
	}
}

func TestHostGatewayAndLoopback(t *testing.T) {
	w := newWorld(t)
	w.loopback = true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.ensure()
	a := w.attach(w.plan("a"))
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c, err := dialFrom(a.ns, "tcp", net.JoinHostPort(a.Attachment().HostGateway.String(), port))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	// And not where it was not asked for.
	w2 := newWorld(t)
	w2.ensure()
	b := w2.attach(w2.plan("b"))
	if c, err := dialFrom(b.ns, "tcp", "10.0.2.2:"+port); err == nil {
		c.Close()
		t.Error("the host's loopback can be reached without permission")
	}
}

// An offline host: everything inside works.
func TestWithoutUplink(t *testing.T) {
	w := newWorld(t)
	w.driver = uplink.None
	w.ensure()
	p := w.plan("a")
	p.Ports = []spec.Port{{ContainerPort: 80, Protocol: "tcp"}}
	a, b := w.attach(p), w.attach(w.plan("b"))
	listen(t, a.ns, ":80")
	if _, err := ask(t, b.ns, a.ip()+":80"); err != nil {
		t.Error("container to container:", err)
	}
	if _, err := ask(t, nil, hostPort("127.0.0.1", a.Attachment().Ports[0].HostPort)); err != nil {
		t.Error("published port:", err)
	}
	if len(a.Warnings()) == 0 {
		t.Error("no warning")
	}
}

func TestIsolationAndInternal(t *testing.T) {
	w := newWorld(t)
	far := neighbour(t)
	listen(t, far, ":7000")
	w.ensure()
	one := bridge("one", "proa1", "172.20.0.0/16")
	two := bridge("two", "proa2", "172.21.0.0/16")
	in := bridge("in", "proa3", "172.22.0.0/16")
	in.Internal = true
	a, b, c := w.attach(w.plan("a", one)), w.attach(w.plan("b", two)), w.attach(w.plan("c", in))
	both := w.attach(w.plan("both", one, two))
	listen(t, b.ns, ":80")
	listen(t, both.ns, ":81")
	for _, x := range []struct {
		what string
		from *box
		addr string
		ok   bool
	}{
		{"between networks", a, b.ip() + ":80", false},
		{"second interface", b, both.Attachment().Interfaces[1].Addrs[0].Addr().String() + ":81", true},
		{"first interface", a, both.ip() + ":81", true},
		{"from both", both, b.ip() + ":80", true},
		{"outside", a, "10.99.0.2:7000", true},
		{"outside from internal", c, "10.99.0.2:7000", false},
	} {
		got, err := ask(t, x.from.ns, x.addr)
		if (err == nil) != x.ok {
			t.Errorf("%s: %q, %v", x.what, got, err)
		}
	}
}

func hostPort(ip string, port uint16) string { return net.JoinHostPort(ip, strconv.Itoa(int(port))) }

func TestSourceAddressIsKept(t *testing.T) {
	w := newWorld(t)
	far := neighbour(t)
	w.ensure()
	p := w.plan("web")
	p.Ports = []spec.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}
	a := w.attach(p)
	listen(t, a.ns, ":80")
	for _, x := range []struct {
		what, addr, want string
		ns               *os.File
	}{
		{"neighbour", "10.99.0.1:8080", "10.99.0.2:", far},
		{"neighbour by IPv6", "[fd00:99::1]:8080", "[fd00:99::2]:", far},
		{"loopback", "127.0.0.1:8080", "172.17.0.1:", nil},
		{"IPv6 loopback", "[::1]:8080", "[fd00:17::1]:", nil},
		{"the host's own address", "10.99.0.1:8080", "172.17.0.1:", nil},
	} {
		got, err := ask(t, x.ns, x.addr)
		if err != nil || !strings.HasPrefix(got, x.want) {
			t.Errorf("%s: %q, %v; want %s", x.what, got, err, x.want)
		}
	}
	if len(a.Warnings()) > 0 {
		t.Error(a.Warnings())
	}
}

func TestBytesAndHalfClose(t *testing.T) {
	w := newWorld(t)
	w.ensure()
	p := w.plan("echo")
	p.Ports = []spec.Port{{ContainerPort: 80, Protocol: "tcp"}}
	a := w.attach(p)
	listen(t, a.ns, ":80")
	c, err := dialFrom(nil, "tcp", hostPort("127.0.0.1", a.Attachment().Ports[0].HostPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const size = 50 << 20
	go func() {
		buf := make([]byte, 1<<20)
		for range size / len(buf) {
			if _, err := c.Write(buf); err != nil {
				t.Error(err)
				return
			}
		}
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	n, err := io.Copy(io.Discard, c)
	if err != nil || n < size {
		t.Errorf("%d bytes back, %v", n, err)
	}
}

func TestRefusedAndAllocated(t *testing.T) {
	w := newWorld(t)
	w.ensure()
	p := w.plan("a")
	p.Ports = []spec.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}
	w.attach(p)
	start := time.Now()
	if got, err := ask(t, nil, "127.0.0.1:8080"); err == nil || time.Since(start) > time.Second {
		t.Errorf("no service: %q after %v", got, time.Since(start))
	}
	q := w.plan("b")
	q.Ports = p.Ports
	_, err := w.try(q)
	if !errs.Is(err, errs.InUse) || err.Error() != "Bind for 0.0.0.0:8080 failed: port is already allocated" {
		t.Error(err)
	}
	q.Ports = []spec.Port{{HostPort: 8080, HostPortEnd: 8082, ContainerPort: 80, Protocol: "tcp"}}
	if b := w.attach(q); b.Attachment().Ports[0].HostPort != 8081 {
		t.Errorf("range: %+v", b.Attachment().Ports)
	}
	q.Ports = []spec.Port{{HostPort: 80, ContainerPort: 80, Protocol: "sctp"}}
	if _, err = w.try(q); !errs.Is(err, errs.Unsupported) {
		t.Error(err)
	}
	if n := len(leases(t, w)); n != 2 {
		t.Errorf("%d leases after failures, want 2", n)
	}
}

func leases(t *testing.T, w *world) (out []string) {
	entries, err := os.ReadDir(w.dir + "/bridge")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "@") && !strings.Contains(e.Name(), ":") {
			out = append(out, e.Name())
		}
	}
	return out
}

func TestUDP(t *testing.T) {
	w := newWorld(t)
	far := neighbour(t)
	w.ensure()
	p := w.plan("udp")
	p.Ports = []spec.Port{{HostPort: 5353, ContainerPort: 53, Protocol: "udp"}}
	a := w.attach(p)
	listenUDP(t, a.ns, ":53")
	for _, x := range []struct {
		ns         *os.File
		addr, want string
	}{
		{far, "10.99.0.1:5353", "10.99.0.2:"},
		{far, "[fd00:99::1]:5353", "[fd00:99::2]:"},
		{nil, "127.0.0.1:5353", "172.17.0.1:"},
		{nil, "127.0.0.9:5353", "172.17.0.1:"},
	} {
		c, err := dialFrom(x.ns, "udp", x.addr)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, _ = c.Write([]byte("hello"))
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			buf := make([]byte, 100)
			n, err := c.Read(buf)
			if err != nil || !strings.HasPrefix(string(buf[:n]), x.want) {
				t.Errorf("%s: %q, %v", x.addr, buf[:n], err)
			}
		}
		c.Close()
	}
}

// Close frees the address, the interface and the port; the uplink ends with
// its last user, and a new one takes its place.
func TestCloseAndUplinkEnd(t *testing.T) {
	w := newWorld(t)
	h := w.ensure()
	p := w.plan("a")
	p.Ports = []spec.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}
	a := w.attach(p)
	h.Close()
	pid := h.Info.PID
	time.Sleep(100 * time.Millisecond)
	if syscall.Kill(pid, 0) != nil {
		t.Fatal("the uplink ended although it is in use")
	}
	start := time.Now()
	a.Close()
	t.Logf("close: %v", time.Since(start))
	a.Close()
	if n := len(leases(t, w)); n != 0 {
		t.Errorf("%d leases left", n)
	}
	l, err := net.Listen("tcp", ":8080")
	if err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
	// At once again: the old uplink may still be about to end.
	w.ensure()
	w.attach(w.plan("b"))
	for i := 0; syscall.Kill(pid, 0) == nil; i++ {
		if i > 100 {
			t.Fatal("the unused uplink is alive after a second")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A killed uplink is repaired by the next start: the containers that lived
// through it reach the world again, and it ends with the last of them.
func TestUplinkRepair(t *testing.T) {
	w := newWorld(t)
	far := neighbour(t)
	listen(t, far, ":7000")
	h := w.ensure()
	a := w.attach(w.plan("a"))
	h.Close()
	if err := syscall.Kill(h.Info.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for syscall.Kill(h.Info.PID, 0) == nil {
		time.Sleep(time.Millisecond)
	}
	if _, err := ask(t, a.ns, "10.99.0.2:7000"); err == nil {
		t.Fatal("the uplink is not dead")
	}
	h2 := w.ensure()
	b := w.attach(w.plan("b"))
	h2.Close()
	if _, err := ask(t, a.ns, "10.99.0.2:7000"); err != nil {
		t.Error("old container:", err)
	}
	listen(t, b.ns, ":80")
	if _, err := ask(t, a.ns, b.ip()+":80"); err != nil {
		t.Error("old to new container:", err)
	}
	b.end()
	time.Sleep(100 * time.Millisecond)
	if _, err := ask(t, a.ns, "10.99.0.2:7000"); err != nil {
		t.Error("the repaired uplink left the old container alone:", err)
	}
}

func TestEnsureInParallel(t *testing.T) {
	w := newWorld(t)
	type result struct {
		h   *uplink.Hold
		err error
	}
	ch := make(chan result)
	for range 20 {
		go func() {
			h, err := uplink.Ensure(t.Context(), w.options())
			ch <- result{h, err}
		}()
	}
	pid := 0
	for range 20 {
		r := <-ch
		if r.err != nil {
			t.Error(r.err)
			continue
		}
		defer r.h.Close()
		if pid != 0 && pid != r.h.Info.PID {
			t.Error("two uplinks")
		}
		pid = r.h.Info.PID
	}
}

func listenUDP(t *testing.T, ns *os.File, addr string) {
	t.Helper()
	var c net.PacketConn
	err := netns.Do(func(int) (err error) {
		c, err = net.ListenPacket("udp", addr)
		return err
	}, ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 2000)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(from.String()), from)
		}
	}()
}

// The very first packet after Attach arrives: one that is lost costs its
// sender a second.
func TestFirstPacket(t *testing.T) {
	for range 10 {
		w := newWorld(t)
		w.ensure()
		first := w.attach(w.plan("first"))
		for _, how := range []string{"gateway", "container", "published"} {
			p := w.plan("x")
			p.Ports = []spec.Port{{ContainerPort: 80, Protocol: "tcp"}}
			a := w.attach(p)
			start := time.Now()
			switch how { // refused at once, all of them
			case "gateway":
				_, _ = ask(t, a.ns, "172.17.0.1:9")
			case "container":
				_, _ = ask(t, a.ns, first.ip()+":9")
			case "published":
				_, _ = ask(t, nil, hostPort("127.0.0.1", a.Attachment().Ports[0].HostPort))
			}
			if d := time.Since(start); d > 500*time.Millisecond {
				t.Errorf("first packet to %s: %v", how, d)
			}
		}
	}
}

// Many containers at once: each gets its own address and all can talk.
func TestAttachInParallel(t *testing.T) {
	w := newWorld(t)
	w.ensure()
	var plans []spec.NetworkPlan
	for range 30 {
		plans = append(plans, w.plan("x"))
	}
	boxes := make(chan *box, len(plans))
	for _, p := range plans {
		go func() {
			b, err := w.try(p)
			if err != nil {
				t.Error(err)
			}
			boxes <- b
		}()
	}
	seen := map[string]bool{}
	var last *box
	for range plans {
		b := <-boxes
		if b == nil {
			continue
		}
		if seen[b.ip()] {
			t.Errorf("%s twice", b.ip())
		}
		seen[b.ip()] = true
		if last != nil {
			start := time.Now()
			if _, err := ask(t, b.ns, last.ip()+":9"); !errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) > time.Second {
				t.Error(err, time.Since(start))
			}
		}
		last = b
	}
}

// The uplink's log is in memory: its stack, a program of others, cannot write it
// without end, and does not die of trying.
func TestUplinkLogIsBounded(t *testing.T) {
	w := newWorld(t)
	h := w.ensure()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", h.Info.PID))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`Max file size\s+1048576\s+1048576\s`).Match(limits) {
		t.Errorf("limits of the uplink:\n%s", limits)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.Info.PID))
	if err != nil {
		t.Fatal(err)
	}
	var ignored uint64
	_, text, _ := strings.Cut(string(status), "SigIgn:")
	if _, err := fmt.Sscanf(text, "%x", &ignored); err != nil || ignored&(1<<(syscall.SIGXFSZ-1)) == 0 {
		t.Errorf("SIGXFSZ ends the uplink: %x, %v", ignored, err)
	}
}
