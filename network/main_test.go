// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/ipam"
	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/network/netnstest"
	"github.com/proa-containers/proa/network/netstack"
	"github.com/proa-containers/proa/network/uplink"
	"github.com/proa-containers/proa/pkg/spec"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "uplink" {
		if err := uplink.Main(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "__netstack" {
		if err := netstack.Main(context.Background(), os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(netnstest.Main(m))
}

// world is one user's network, empty at first.
type world struct {
	t        testing.TB
	dir      string
	resolv   string
	driver   uplink.Driver
	loopback bool
	names    int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "net")}
	w.resolv = filepath.Join(t.TempDir(), "resolv.conf")
	w.write(w.resolv, "nameserver 127.0.0.1\nsearch example.test\n")
	if os.Getenv("PROA_TEST_HOSTNET") == "" {
		run(t, "ip", "link", "set", "lo", "up")
	}
	return w
}

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) options() uplink.Options {
	return uplink.Options{StateDir: w.dir, Program: "/proc/self/exe", Driver: w.driver, HostLoopback: w.loopback,
		Netstack: netstackCommand()}
}

func netstackCommand() []string { return []string{"/proc/self/exe", "__netstack"} }

func (w *world) ensure() *uplink.Hold {
	w.t.Helper()
	h, err := uplink.Ensure(context.Background(), w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { h.Close() })
	return h
}

// box is a container without a process: its network namespace.
type box struct {
	t    testing.TB
	ns   *os.File
	lock *os.File
	run  string
	*Attached
}

func bridge(name, iface string, subnets ...string) spec.BridgePlan {
	b := spec.BridgePlan{Network: name, Iface: iface, Names: true}
	for _, s := range subnets {
		p := netip.MustParsePrefix(s)
		b.Subnets = append(b.Subnets, p)
		b.Gateways = append(b.Gateways, ipam.Gateway(p))
	}
	return b
}

func defaultBridge() spec.BridgePlan {
	return bridge("bridge", "proa0", "172.17.0.0/16", "fd00:17::/64")
}

func (w *world) plan(name string, bridges ...spec.BridgePlan) spec.NetworkPlan {
	w.names++
	if len(bridges) == 0 {
		bridges = []spec.BridgePlan{defaultBridge()}
	}
	// Twelve digits only would pass for a number, so that no resolver asks for it.
	id := fmt.Sprintf("a%011x%052x", time.Now().UnixNano()&0xfffffffffff, w.names)
	return spec.NetworkPlan{Mode: spec.NetBridge, ID: id, Name: name, Hostname: id[:12], Bridges: bridges, StateDir: w.dir}
}

func (w *world) try(plan spec.NetworkPlan) (*box, error) {
	w.t.Helper()
	b := &box{t: w.t, run: filepath.Join(w.t.TempDir(), "run")}
	if err := os.MkdirAll(b.run, 0o700); err != nil {
		w.t.Fatal(err)
	}
	var err error
	if b.lock, err = os.Create(filepath.Join(b.run, "lock")); err != nil {
		w.t.Fatal(err)
	}
	if err := unix.Flock(int(b.lock.Fd()), unix.LOCK_EX); err != nil {
		w.t.Fatal(err)
	}
	if b.ns, err = netns.New(); err != nil {
		w.t.Fatal(err)
	}
	b.Attached, err = Attach(context.Background(), plan, b.ns, Env{RunDir: b.run, ResolvConf: w.resolv, Netstack: netstackCommand()})
	if err != nil {
		b.ns.Close()
		b.lock.Close()
		return nil, err
	}
	w.t.Cleanup(b.end)
	return b, nil
}

func (w *world) attach(plan spec.NetworkPlan) *box {
	w.t.Helper()
	b, err := w.try(plan)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (b *box) end() {
	if b.lock != nil {
		b.Close()
		b.ns.Close()
		b.lock.Close()
		b.lock = nil
	}
}

func (b *box) ip() string { return b.Attachment().Interfaces[0].Addrs[0].Addr().String() }

// sh runs a command in the container's namespace.
func (b *box) sh(args ...string) (string, error) { return runIn(b.ns, args...) }

func runIn(ns *os.File, args ...string) (string, error) {
	var out []byte
	err := netns.Do(func(int) error {
		var err error
		out, err = exec.Command(args[0], args[1:]...).CombinedOutput()
		return err
	}, ns)
	return string(out), err
}

func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// listen opens a server in the namespace that answers each connection with the
// client's address and then echoes.
func listen(t testing.TB, ns *os.File, addr string) {
	t.Helper()
	var l net.Listener
	err := netns.Do(func(int) (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	}, ns)
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
				defer c.Close()
				fmt.Fprintf(c, "%s\n", c.RemoteAddr())
				_, _ = c.(*net.TCPConn).WriteTo(c)
			}()
		}
	}()
}

// dialFrom connects from a namespace; nil stands for the host's.
func dialFrom(ns *os.File, network, addr string) (c net.Conn, err error) {
	dial := func(int) error {
		d := net.Dialer{Timeout: 3 * time.Second}
		c, err = d.Dial(network, addr)
		return err
	}
	if ns == nil {
		return c, dial(0)
	}
	return c, netns.Do(dial, ns)
}

// ask connects, and returns the first line that the server says.
func ask(t testing.TB, ns *os.File, addr string) (string, error) {
	t.Helper()
	c, err := dialFrom(ns, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 200)
	n, err := c.Read(buf)
	return strings.TrimSpace(string(buf[:n])), err
}

// neighbour is another machine, 10.99.0.2 (fd00:99::2), on a cable to the host,
// which is 10.99.0.1 (fd00:99::1).
func neighbour(t testing.TB) *os.File {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	run(t, "ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable1")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "cable").Run() })
	run(t, "ip", "link", "set", "cable1", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd()))
	run(t, "sh", "-ec", `ip addr add 10.99.0.1/24 dev cable; ip addr add fd00:99::1/64 dev cable nodad
		ip link set cable up; ip route add default via 10.99.0.2; ip -6 route add default via fd00:99::2`)
	out, err := runIn(ns, "sh", "-ec", `ip link set lo up; ip addr add 10.99.0.2/24 dev cable1
		ip addr add fd00:99::2/64 dev cable1 nodad; ip link set cable1 up`)
	if err != nil {
		t.Fatal(err, out)
	}
	return ns
}
