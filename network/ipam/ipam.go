// SPDX-License-Identifier: Apache-2.0

// Package ipam gives containers addresses. A lease is a file named after the
// address and the container in the network's directory, on tmpfs; its content
// is what others want to know about the container. There is no server: a lock
// on the directory orders the writers, and a lease whose monitor is dead is
// free, which the kernel tells by the lock on the monitor's runtime directory.
package ipam

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
	"github.com/proa-containers/proa/pkg/rundir"
)

// Record is the content of a lease.
type Record struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Hostname string       `json:"hostname,omitempty"`
	Aliases  []string     `json:"aliases,omitempty"`
	Addrs    []netip.Addr `json:"addrs"` // IPv4 first
	MAC      string       `json:"mac"`
	RunDir   string       `json:"runDir"` // of the monitor: its file "lock" is held while it lives
	// PID and NetnsFD say where the user's shared network namespace can be
	// found: /proc/PID/fd/NetnsFD, in the host's pid namespace.
	PID     int `json:"pid,omitempty"`
	NetnsFD int `json:"netnsFd,omitempty"`
	// FIFO is likewise the monitor's descriptor of the uplink's FIFO.
	FIFO int `json:"fifo,omitempty"`
}

// Request asks for one address in each subnet.
type Request struct {
	Dir      string // of the network: StateDir/NAME
	Network  string // its name, for messages
	Subnets  []netip.Prefix
	Gateways []netip.Addr
	IP, IP6  netip.Addr // zero: the next free one
	MAC      string     // empty: made from the address
	Owner    Record     // Addrs and MAC are filled in
}

// Lease is an address that is held.
type Lease struct {
	Record
	// First says that nobody else held an address of this network.
	First bool
	dir   string
	files []string
}

const lockName = ".lock"

// Acquire takes the addresses. Errors: kind Invalid for a fixed address that
// the network does not have, Exists for one that is taken, Unavailable when
// none is left. The caller calls Release.
func Acquire(r Request) (*Lease, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	unlock, err := lockDir(r.Dir)
	if err != nil {
		return nil, errs.Wrap(err, "lease an address of network", r.Network)
	}
	defer unlock()
	t, err := load(r.Dir)
	if err != nil {
		return nil, errs.Wrap(err, "lease an address of network", r.Network)
	}
	t.dropOwner(r.Owner.ID)
	l := &Lease{Record: r.Owner, dir: r.Dir, First: !t.anyAlive()}
	l.Addrs = nil
	for i, subnet := range r.Subnets {
		a, err := t.choose(r, subnet, r.Gateways[i])
		if err != nil {
			return nil, err
		}
		l.Addrs = append(l.Addrs, a)
	}
	l.MAC = r.MAC
	if l.MAC == "" {
		l.MAC = MACOf(l.Addrs[0]).String()
	}
	if err := l.write(); err != nil {
		l.remove()
		return nil, errs.Wrap(err, "lease an address of network", r.Network)
	}
	return l, nil
}

func (r Request) check() error {
	if len(r.Subnets) == 0 || len(r.Gateways) != len(r.Subnets) {
		return errs.New(errs.Invalid, "network %q needs a subnet, and a gateway in each", r.Network)
	}
	for _, fixed := range []netip.Addr{r.IP, r.IP6} {
		if !fixed.IsValid() {
			continue
		}
		if !slices.ContainsFunc(r.Subnets, func(p netip.Prefix) bool { return p.Contains(fixed) }) {
			return errs.WithHint(errs.New(errs.Invalid, "invalid address %s: no subnet of network %q contains it", fixed, r.Network),
				"choose an address in %s", joinPrefixes(r.Subnets))
		}
		if slices.Contains(r.Gateways, fixed) {
			return errs.New(errs.Exists, "address %s is already in use: it is the gateway of network %q", fixed, r.Network)
		}
	}
	return nil
}

func joinPrefixes(ps []netip.Prefix) string {
	var s []string
	for _, p := range ps {
		s = append(s, p.String())
	}
	return strings.Join(s, " or ")
}

// table is what the directory says, under its lock.
type table struct {
	dir   string
	taken map[netip.Addr]string // file name
	order []string
}

func load(dir string) (*table, error) {
	names, err := fileNames(dir)
	if err != nil {
		return nil, err
	}
	t := &table{dir: dir, taken: make(map[netip.Addr]string, len(names))}
	for _, n := range names {
		if a, _, ok := parseName(n); ok {
			t.taken[a] = n
			t.order = append(t.order, n)
		}
	}
	return t, nil
}

func fileNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// parseName splits "ADDRESS@ID".
func parseName(n string) (netip.Addr, string, bool) {
	text, id, ok := strings.Cut(n, "@")
	if !ok {
		return netip.Addr{}, "", false
	}
	a, err := netip.ParseAddr(text)
	return a, id, err == nil
}

// dropOwner removes what a killed monitor of the same container left: the new
// monitor's lock would make those leases look alive.
func (t *table) dropOwner(id string) {
	for a, n := range t.taken {
		if _, owner, _ := parseName(n); owner == id {
			t.drop(a)
		}
	}
}

func (t *table) drop(a netip.Addr) {
	_ = os.Remove(filepath.Join(t.dir, t.taken[a]))
	delete(t.taken, a)
}

func (t *table) anyAlive() bool {
	for _, n := range t.order {
		if r, err := read(filepath.Join(t.dir, n)); err == nil && r.alive() {
			return true
		}
	}
	return false
}

func (t *table) choose(r Request, subnet netip.Prefix, gateway netip.Addr) (netip.Addr, error) {
	fixed := r.IP
	if subnet.Addr().Is6() {
		fixed = r.IP6
	}
	if fixed.IsValid() && subnet.Contains(fixed) {
		if owner, taken := t.owner(fixed); taken {
			return fixed, errs.WithHint(
				errs.New(errs.Exists, "address %s of network %q is already in use by container %q", fixed, r.Network, owner),
				"omit --ip to get the next free address")
		}
		return fixed, nil
	}
	for pass := range 2 {
		for a := range hosts(subnet) {
			if a == gateway || a == r.IP || a == r.IP6 {
				continue
			}
			if _, there := t.taken[a]; !there {
				return a, nil
			}
			// Only when every address has a file is it worth asking for each
			// whether its monitor still lives.
			if pass == 1 {
				if _, alive := t.owner(a); !alive {
					return a, nil
				}
			}
		}
	}
	family := "IPv4"
	if subnet.Addr().Is6() {
		family = "IPv6"
	}
	return netip.Addr{}, errs.WithHint(
		errs.New(errs.Unavailable, "no available %s addresses on network %q: all of %s are in use", family, r.Network, subnet),
		"stop containers on it, or create a network with a larger --subnet")
}

// owner is the name of the live container that holds a; a lease of a dead one
// is removed.
func (t *table) owner(a netip.Addr) (string, bool) {
	n, ok := t.taken[a]
	if !ok {
		return "", false
	}
	r, err := read(filepath.Join(t.dir, n))
	if err == nil && r.alive() {
		return r.Name, true
	}
	t.drop(a)
	return "", false
}

// hosts are the addresses of a subnet that a container can have, at most the
// first million.
func hosts(p netip.Prefix) func(func(netip.Addr) bool) {
	return func(yield func(netip.Addr) bool) {
		p = p.Masked()
		a := p.Addr().Next()
		for range 1 << 20 {
			next := a.Next()
			last := !p.Contains(next)
			if !p.Contains(a) || (last && a.Is4()) { // the broadcast address
				return
			}
			if !yield(a) || last {
				return
			}
			a = next
		}
	}
}

// MACOf is the hardware address that goes with a: the same one each time, so
// that neighbours' caches stay right when an address changes hands.
func MACOf(a netip.Addr) net.HardwareAddr {
	s := a.AsSlice()
	return append(net.HardwareAddr{0x02, 0x42}, s[len(s)-4:]...)
}

func (l *Lease) write() error {
	data, err := json.Marshal(l.Record)
	if err != nil {
		return err
	}
	for _, a := range l.Addrs {
		name := filepath.Join(l.dir, a.String()+"@"+l.ID)
		tmp := filepath.Join(l.dir, ".new-"+a.String())
		if err := os.WriteFile(tmp, data, 0o600); err != nil {
			return err
		}
		if err := os.Rename(tmp, name); err != nil {
			return err
		}
		l.files = append(l.files, name)
	}
	return nil
}

// Restore writes the lease again where its file is gone. An address that
// somebody else has taken meanwhile stays his, in the files and in the answers
// to names.
func (l *Lease) Restore() error {
	unlock, err := lockDir(l.dir)
	if err != nil {
		return err
	}
	defer unlock()
	t, err := load(l.dir)
	if err != nil {
		return err
	}
	for _, a := range l.Addrs {
		if _, taken := t.owner(a); taken {
			return nil
		}
	}
	l.files = nil
	return l.write()
}

func (l *Lease) remove() {
	for _, f := range l.files {
		_ = os.Remove(f)
	}
	l.files = nil
}

// Release gives the addresses back. Calling it twice does nothing.
func (l *Lease) Release() {
	unlock, err := lockDir(l.dir)
	if err != nil {
		return
	}
	defer unlock()
	l.remove()
}

// lockDir makes dir and locks it against other writers.
func lockDir(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.Flock(f, unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

func read(path string) (Record, error) {
	var r Record
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(data, &r)
}

// alive asks the kernel whether the monitor holds its lock.
func (r Record) alive() bool { return rundir.Locked(r.RunDir) }
