// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/network/netnstest"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

// loopbackTarget is a "container" in this very namespace, on 127.0.0.2.
func loopbackTarget(t testing.TB) Target {
	t.Helper()
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	self, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	worker := netns.NewWorker(self)
	t.Cleanup(func() {
		worker.Close() // a connection that is under way uses the namespace until then
		self.Close()
	})
	return Target{V4: netip.MustParseAddr("127.0.0.2"), Worker: worker}
}

func publish(t testing.TB, p ...spec.Port) *Set {
	t.Helper()
	s, err := Listen(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestListenChoosesAndReports(t *testing.T) {
	loopbackTarget(t)
	s := publish(t,
		spec.Port{ContainerPort: 80, Protocol: "tcp"},
		spec.Port{ContainerPort: 80, Protocol: "udp"},
		spec.Port{HostPort: 18000, HostPortEnd: 18002, ContainerPort: 81, Protocol: "tcp"},
		spec.Port{HostPort: 18000, HostPortEnd: 18002, ContainerPort: 82, Protocol: "tcp"},
		spec.Port{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 18005, ContainerPort: 83, Protocol: "tcp"},
		spec.Port{HostIP: netip.MustParseAddr("127.0.0.3"), HostPort: 18005, ContainerPort: 83, Protocol: "tcp"})
	p := s.Ports()
	if len(p) != 6 || p[0].HostPort == 0 || p[1].HostPort == 0 || p[2].HostPort != 18000 || p[3].HostPort != 18001 {
		t.Errorf("%+v", p)
	}
}

func TestListenErrors(t *testing.T) {
	loopbackTarget(t)
	publish(t, spec.Port{HostPort: 18000, ContainerPort: 80, Protocol: "tcp"})
	for _, x := range []struct {
		port spec.Port
		kind errs.Kind
		text string
		hint string
	}{
		{spec.Port{HostPort: 18000, ContainerPort: 80, Protocol: "tcp"}, errs.InUse,
			"Bind for 0.0.0.0:18000 failed: port is already allocated", "-p 18001:80"},
		{spec.Port{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 18000, ContainerPort: 80, Protocol: "tcp"}, errs.InUse,
			"Bind for 127.0.0.1:18000 failed: port is already allocated", "ss -lntup"},
		{spec.Port{HostPort: 18000, HostPortEnd: 18000, ContainerPort: 80, Protocol: "tcp"}, errs.InUse, "port is already allocated", ""},
		{spec.Port{HostIP: netip.MustParseAddr("192.0.2.1"), HostPort: 18001, ContainerPort: 80, Protocol: "tcp"}, errs.Invalid,
			"this host does not have the address", "ip addr"},
		{spec.Port{HostPort: 18001, ContainerPort: 80, Protocol: "sctp"}, errs.Unsupported, "80/sctp", ""},
		{spec.Port{HostPort: 18001, ContainerPort: 80, Protocol: "x"}, errs.Invalid, "protocol", ""},
	} {
		_, err := Listen(t.Context(), []spec.Port{{ContainerPort: 1, Protocol: "udp"}, x.port})
		if !errs.Is(err, x.kind) || !strings.Contains(err.Error(), x.text) || !strings.Contains(errs.HintOf(err), x.hint) {
			t.Errorf("%+v: %v (%s)", x.port, err, errs.HintOf(err))
		}
	}
}

func TestPrivilegedPortHint(t *testing.T) {
	err := explain(spec.Port{HostPort: 80, ContainerPort: 80, Protocol: "tcp"}, os.NewSyscallError("bind", fmt.Errorf("%w", os.ErrPermission)))
	if errs.KindOf(err) == errs.Denied {
		t.Error("only EACCES itself is the kernel's answer")
	}
	err = explain(spec.Port{HostPort: 80, ContainerPort: 80, Protocol: "tcp"}, os.NewSyscallError("bind", unix.EACCES))
	if !errs.Is(err, errs.Denied) || !strings.Contains(errs.HintOf(err), "sysctl net.ipv4.ip_unprivileged_port_start=80") {
		t.Error(err, errs.HintOf(err))
	}
}

func TestRoute(t *testing.T) {
	a := netip.MustParseAddr
	dual := Target{V4: a("172.17.0.2"), V6: a("fd00::2"), Gateway4: a("172.17.0.1"), Gateway6: a("fd00::1"), Transparent: true}
	v4 := Target{V4: a("172.17.0.2"), Gateway4: a("172.17.0.1"), Transparent: true, KeepUDP: true}
	for _, x := range []struct {
		t             Target
		client, local string
		udp           bool
		want          string
	}{
		{dual, "10.0.0.9:5", "10.0.0.1", false, "10.0.0.9:5 172.17.0.2 true"},
		{dual, "[::ffff:10.0.0.9]:5", "::ffff:10.0.0.1", false, "10.0.0.9:5 172.17.0.2 true"},
		{dual, "10.0.0.1:5", "10.0.0.1", false, "172.17.0.1:0 172.17.0.2 false"},
		{dual, "127.0.0.1:5", "127.0.0.1", false, "172.17.0.1:0 172.17.0.2 false"},
		{dual, "[2001:db8::9]:5", "2001:db8::1", false, "[2001:db8::9]:5 fd00::2 true"},
		{dual, "[fe80::9]:5", "fe80::1", false, "[fd00::1]:0 fd00::2 false"},
		{dual, "10.0.0.9:5", "10.0.0.1", true, "172.17.0.1:0 172.17.0.2 false"},
		{v4, "10.0.0.9:5", "10.0.0.1", true, "10.0.0.9:5 172.17.0.2 true"},
		{v4, "[2001:db8::9]:5", "2001:db8::1", false, "172.17.0.1:0 172.17.0.2 false"},
	} {
		src, dst, keep := x.t.route(netip.MustParseAddrPort(x.client), a(x.local), x.udp)
		if got := fmt.Sprint(src, dst, keep); got != x.want {
			t.Errorf("%s: %s, want %s", x.client, got, x.want)
		}
	}
}

// A closed direction is passed on, the other one stays open.
func TestHalfClose(t *testing.T) {
	target := loopbackTarget(t)
	l, err := net.Listen("tcp", "127.0.0.2:18080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		all, _ := io.ReadAll(c)
		fmt.Fprintf(c, "got %d", len(all))
	}()
	s := publish(t, spec.Port{ContainerPort: 18080, Protocol: "tcp"})
	s.Serve(target)
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Ports()[0].HostPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write(make([]byte, 100_000))
	_ = c.(*net.TCPConn).CloseWrite()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if got, err := io.ReadAll(c); err != nil || string(got) != "got 100000" {
		t.Errorf("%q, %v", got, err)
	}
}

// A reader that stops reading stops the writer: nothing is piled up here.
func TestBackPressure(t *testing.T) {
	target := loopbackTarget(t)
	l, err := net.Listen("tcp", "127.0.0.2:18081")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := publish(t, spec.Port{ContainerPort: 18081, Protocol: "tcp"})
	s.Serve(target)
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Ports()[0].HostPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	n, err := io.Copy(c, io.LimitReader(zeros{}, 1<<30))
	if err == nil {
		t.Errorf("%d bytes went nowhere", n)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapInuse > 32<<20 {
		t.Errorf("%d bytes of heap", m.HeapInuse)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func udpEcho(t *testing.T, addr string) {
	t.Helper()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
}

func udpForward(t *testing.T, port uint16, change func(*udpPort)) (*udpPort, string) {
	t.Helper()
	target := loopbackTarget(t)
	c, err := net.ListenUDP("udp", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	u := newUDPPort(c, target, port)
	change(u)
	done := make(chan struct{})
	go func() {
		u.run()
		close(done)
	}()
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return u, fmt.Sprintf("127.0.0.1:%d", c.LocalAddr().(*net.UDPAddr).Port)
}

func (u *udpPort) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.sessions)
}

func exchange(t *testing.T, addr string, size int) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_, _ = c.Write(make([]byte, size))
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	if n, err := c.Read(make([]byte, maxDatagram)); err != nil || n != size {
		t.Errorf("%d bytes of %d back, %v", n, size, err)
	}
	return c
}

func TestUDPSessions(t *testing.T) {
	udpEcho(t, "127.0.0.2:18053")
	u, addr := udpForward(t, 18053, func(u *udpPort) { u.limit, u.idle = 5, 300*time.Millisecond })
	for i := range 12 {
		exchange(t, addr, 1+i*5000)
	}
	if n := u.count(); n > 5 {
		t.Errorf("%d sessions, more than the limit", n)
	}
	time.Sleep(600 * time.Millisecond)
	if n := u.count(); n != 0 {
		t.Errorf("%d idle sessions", n)
	}
	exchange(t, addr, 10)
}

// A datagram to a service that is not there yet does not end the session.
func TestUDPServiceComesLate(t *testing.T) {
	_, addr := udpForward(t, 18054, func(*udpPort) {})
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("early"))
	time.Sleep(50 * time.Millisecond)
	udpEcho(t, "127.0.0.2:18054")
	_, _ = c.Write([]byte("late"))
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "late" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// Close ends connections that are open.
func TestCloseEndsConnections(t *testing.T) {
	target := loopbackTarget(t)
	l, err := net.Listen("tcp", "127.0.0.2:18082")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := publish(t, spec.Port{ContainerPort: 18082, Protocol: "tcp"})
	s.Serve(target)
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Ports()[0].HostPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Error("the connection is still open:", err)
	}
}

func TestShares(t *testing.T) {
	for _, x := range []struct{ spare, tcp, udp, flows, sessions int }{
		{192, 1, 0, 31, 0},
		{960, 2, 0, 159, 0},
		{960, 0, 1, 1, 959},
		{960, 2, 2, 119, 119},
		{1 << 20, 1, 1, 174_591, 1024},
		{-57, 5, 5, 1, 1},
	} {
		flows, sessions := shares(x.spare, x.tcp, x.udp)
		if x.tcp > 0 && flows != x.flows || sessions != x.sessions {
			t.Errorf("%d for %d tcp, %d udp: %d connections, %d sessions; want %d, %d", x.spare, x.tcp, x.udp, flows, sessions, x.flows, x.sessions)
		}
		if need := flows*perFlow*min(1, x.tcp) + sessions*x.udp + x.tcp + x.udp; x.spare > 100 && need > x.spare {
			t.Errorf("%d for %d tcp, %d udp: up to %d descriptors", x.spare, x.tcp, x.udp, need)
		}
	}
}

// limited publishes a port of the target with room for so many connections.
func limited(t *testing.T, target Target, port uint16, limit int) (s *Set, addr string) {
	t.Helper()
	s = publish(t, spec.Port{ContainerPort: port, Protocol: "tcp"})
	s.Serve(target)
	s.flows.mu.Lock()
	s.flows.limit = limit
	s.flows.mu.Unlock()
	return s, fmt.Sprintf("127.0.0.1:%d", s.Ports()[0].HostPort)
}

func (s *Set) count() int {
	s.flows.mu.Lock()
	defer s.flows.mu.Unlock()
	return s.flows.open.Len()
}

func tcpEcho(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
}

func alive(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	_, _ = c.Write([]byte("x"))
	n, err := c.Read(make([]byte, 1))
	return n == 1 && err == nil
}

func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Where the descriptors are used up, the connection goes that has been idle for
// the longest time: a new client is always served, and who talks is not cut off.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	target := loopbackTarget(t)
	tcpEcho(t, "127.0.0.2:18084")
	s, addr := limited(t, target, 18084, 4)
	talks := connect(t, addr)
	if !alive(talks) {
		t.Fatal("the first client is not served")
	}
	var idle []net.Conn
	for i := range 12 {
		time.Sleep(20 * time.Millisecond)
		c := connect(t, addr)
		if !alive(c) {
			t.Fatalf("client %d is not served", i)
		}
		idle = append(idle, c)
		time.Sleep(20 * time.Millisecond)
		if !alive(talks) {
			t.Fatalf("who talks was cut off by client %d", i)
		}
		if n := s.count(); n > 4 {
			t.Errorf("%d connections, more than the limit", n)
		}
	}
	for i, c := range idle {
		if got, want := alive(c), i >= 9; got != want {
			t.Errorf("idle client %d lives: %v", i, got)
		}
	}
	s.Close()
	for i := 0; s.count() > 0; i++ {
		if i == 100 {
			t.Fatalf("%d connections after the end", s.count())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Many clients that talk are not cut off by others that connect often and say
// nothing, although none of these has been idle for long.
func TestBusyConnectionsStay(t *testing.T) {
	target := loopbackTarget(t)
	tcpEcho(t, "127.0.0.2:18087")
	_, addr := limited(t, target, 18087, scanned+20)
	var talk []net.Conn
	for range scanned + 10 {
		talk = append(talk, connect(t, addr))
	}
	for range 4 {
		for i, c := range talk {
			if !alive(c) {
				t.Fatalf("client %d, who talks, was cut off", i)
			}
		}
		for range 20 {
			connect(t, addr)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Clients that wait for a container which does not accept make room as well,
// and do not hold the end up.
func TestConnectsMakeRoom(t *testing.T) {
	target := loopbackTarget(t)
	// A listener whose queue is full does not answer any more.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 18085, Addr: [4]byte{127, 0, 0, 2}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	s, addr := limited(t, target, 18085, 3)
	start := time.Now()
	var clients []net.Conn
	for range 10 {
		clients = append(clients, connect(t, addr))
		time.Sleep(20 * time.Millisecond)
	}
	_ = clients[0].SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := clients[0].Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the first client waits: %v", err)
	}
	if n := s.count(); n > 3 {
		t.Errorf("%d connections, more than the limit", n)
	}
	s.Close()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// More ports than a process may have files are refused before any is bound.
func TestListenBeyondTheLimit(t *testing.T) {
	many := make([]spec.Port, 1<<21)
	for i := range many {
		many[i] = spec.Port{ContainerPort: 80, Protocol: "tcp"}
	}
	begin := time.Now()
	_, err := Listen(t.Context(), many)
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(errs.HintOf(err), "ulimit -n") || time.Since(begin) > time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
}
