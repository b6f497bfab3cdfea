// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// monitorDir is a runtime directory whose lock is held until the test ends or
// kill is called.
func monitorDir(t *testing.T) (dir string, kill func()) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return dir, func() { f.Close() }
}

func request(dir, runDir, id string, subnets ...string) Request {
	r := Request{Dir: dir, Network: "net1", Owner: Record{ID: id, Name: "c-" + id, RunDir: runDir}}
	for _, s := range subnets {
		p := netip.MustParsePrefix(s)
		r.Subnets = append(r.Subnets, p)
		r.Gateways = append(r.Gateways, Gateway(p))
	}
	return r
}

func acquire(t *testing.T, r Request) *Lease {
	t.Helper()
	l, err := Acquire(r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSequence(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net1")
	run, _ := monitorDir(t)
	a := acquire(t, request(dir, run, "a", "172.17.0.0/16", "fd00:17::/64"))
	b := acquire(t, request(dir, run, "b", "172.17.0.0/16", "fd00:17::/64"))
	if got := fmt.Sprint(a.Addrs, b.Addrs); got != "[172.17.0.2 fd00:17::2] [172.17.0.3 fd00:17::3]" {
		t.Error(got)
	}
	if a.MAC != "02:42:ac:11:00:02" || !a.First || b.First {
		t.Errorf("MAC %s, first %v %v", a.MAC, a.First, b.First)
	}
	a.Release()
	a.Release()
	if c := acquire(t, request(dir, run, "c", "172.17.0.0/16")); c.Addrs[0] != netip.MustParseAddr("172.17.0.2") {
		t.Errorf("a released address is not reused: %v", c.Addrs)
	}
}

func TestFixedAddress(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net1")
	run, kill := monitorDir(t)
	r := request(dir, run, "a", "10.1.0.0/24")
	for ip, kind := range map[string]errs.Kind{"10.2.0.1": errs.Invalid, "10.1.0.1": errs.Exists} {
		r.IP = netip.MustParseAddr(ip)
		if _, err := Acquire(r); !errs.Is(err, kind) {
			t.Errorf("%s: %v", ip, err)
		}
	}
	r.IP = netip.MustParseAddr("10.1.0.7")
	acquire(t, r)
	r.Owner.ID, r.Owner.Name = "b", "other"
	run2, _ := monitorDir(t)
	r.Owner.RunDir = run2
	_, err := Acquire(r)
	if !errs.Is(err, errs.Exists) || !strings.Contains(err.Error(), `"c-a"`) {
		t.Errorf("taken address: %v", err)
	}
	kill()
	if l := acquire(t, r); l.Addrs[0] != r.IP {
		t.Errorf("the address of a dead monitor is not reclaimed: %v", l.Addrs)
	}
}

func TestExhaustionAndReclaim(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net1")
	run, kill := monitorDir(t)
	for i := range 5 {
		acquire(t, request(dir, run, fmt.Sprint(i), "10.1.0.0/29"))
	}
	run2, _ := monitorDir(t)
	_, err := Acquire(request(dir, run2, "x", "10.1.0.0/29"))
	if !errs.Is(err, errs.Unavailable) || errs.HintOf(err) == "" {
		t.Fatalf("exhaustion: %v", err)
	}
	kill()
	acquire(t, request(dir, run2, "x", "10.1.0.0/29"))
}

// A container that starts again after its monitor was killed must not keep its
// old address beside the new one.
func TestSameContainerAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net1")
	run, _ := monitorDir(t)
	acquire(t, request(dir, run, "a", "10.1.0.0/24"))
	acquire(t, request(dir, run, "a", "10.1.0.0/24"))
	if got := NewNames(dir).Lookup("c-a"); len(got) != 1 {
		t.Errorf("%d leases for one container", len(got))
	}
}

func TestParallel(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net1")
	run, _ := monitorDir(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[netip.Addr]bool{}
	for i := range 100 {
		wg.Go(func() {
			l, err := Acquire(request(dir, run, fmt.Sprintf("id%d", i), "10.1.0.0/24"))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[l.Addrs[0]] {
				t.Errorf("%s given twice", l.Addrs[0])
			}
			seen[l.Addrs[0]] = true
		})
	}
	wg.Wait()
	if n := len(NewNames(dir).All()); n != 100 {
		t.Errorf("%d leases", n)
	}
}

func TestNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net1")
	run, kill := monitorDir(t)
	r := request(dir, run, "0123456789abcdef", "10.1.0.0/24")
	r.Owner.Name, r.Owner.Hostname, r.Owner.Aliases = "web", "webhost", []string{"www"}
	l := acquire(t, r)
	n := NewNames(dir)
	for _, name := range []string{"web", "WEB", "webhost", "www", "0123456789ab", "0123456789abcdef"} {
		if got := n.Lookup(name); len(got) != 1 {
			t.Errorf("%q: %v", name, got)
		}
	}
	for _, name := range []string{"", "we", "0123456789a", "nobody"} {
		if got := n.Lookup(name); len(got) != 0 {
			t.Errorf("%q: %v", name, got)
		}
	}
	if o, ok := n.Owner(l.Addrs[0]); !ok || o.Name != "web" {
		t.Error("no owner of the address")
	}
	kill()
	if got := n.Lookup("web"); len(got) != 0 {
		t.Error("a dead container has a name")
	}
}

func TestFreeSubnet(t *testing.T) {
	var avoid []netip.Prefix
	for i, want := range []string{"172.17.0.0/16", "172.18.0.0/16", "172.24.0.0/16"} {
		p, err := FreeSubnet(avoid)
		if err != nil || p.String() != want {
			t.Errorf("%d: %v, %v, want %s", i, p, err, want)
		}
		avoid = append(avoid, []netip.Prefix{
			netip.MustParsePrefix("172.17.5.0/24"), netip.MustParsePrefix("172.16.0.0/13"),
		}[min(i, 1)], netip.MustParsePrefix("0.0.0.0/0"))
	}
	_, err := FreeSubnet([]netip.Prefix{netip.MustParsePrefix("128.0.0.0/1"), netip.MustParsePrefix("10.0.0.0/8")})
	if !errs.Is(err, errs.Unavailable) {
		t.Error(err)
	}
}

func TestHosts(t *testing.T) {
	count := func(s string) (n int) {
		for range hosts(netip.MustParsePrefix(s)) {
			n++
		}
		return n
	}
	for s, want := range map[string]int{"10.0.0.0/29": 6, "10.0.0.0/30": 2, "fd00::/126": 3, "10.0.0.8/24": 254} {
		if got := count(s); got != want {
			t.Errorf("%s: %d, want %d", s, got, want)
		}
	}
}
