// SPDX-License-Identifier: Apache-2.0

// Package network connects a container with the world, as its monitor's part:
// Attach sets a plan up in the container's network namespace and what it
// returns keeps it up. The part of the front end is in network/uplink.
//
//	host's namespace        user's shared namespace          container's
//	+------------------+    +--------------------------+    +------------------+
//	| monitor          |    | proa0  172.17.0.1        |    | eth0 172.17.0.2  |
//	|  listens on 8080 |    |   |-- v0123456789ab-0 ---+----+ default via .1   |
//	|  asks resolvers  |    | tap0 <- slirp4netns      |    | 127.0.0.11:53    |
//	+------------------+    +--------------------------+    +------------------+
//
// The monitor's threads stay in the host's namespace; sockets in the other
// two are opened by threads that end afterwards (package netns).
package network

import (
	"context"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/dns"
	"github.com/proa-containers/proa/network/ipam"
	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/network/ports"
	"github.com/proa-containers/proa/network/uplink"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// Env is what Attach needs to know about its surroundings.
type Env struct {
	// RunDir is the monitor's runtime directory: the lock in it says to others
	// that the addresses are in use.
	RunDir string
	// HostProc is a descriptor of the host's /proc; nil: /proc is the host's.
	HostProc *os.File
	// Netstack is the command that runs the built-in network stack (path of
	// proa and "__netstack"), for the mode netstack.
	Netstack []string
	// ResolvConf is the host's; empty: /etc/resolv.conf.
	ResolvConf string
}

// Driver is Attach with its Env, as the supervisor wants it.
type Driver struct{ Env Env }

// Attach is the package's Attach. The closer is an *Attached.
func (d Driver) Attach(ctx context.Context, plan spec.NetworkPlan, ns *os.File) (spec.Attachment, io.Closer, error) {
	a, err := Attach(ctx, plan, ns, d.Env)
	if err != nil {
		return spec.Attachment{}, nil, err
	}
	return a.Attachment(), a, nil
}

// Attached is a container's connection. Its methods are safe for concurrent
// use.
type Attached struct {
	att      spec.Attachment
	warnings []string

	mu      sync.Mutex
	undo    []func()
	restore []func() error
}

// Attachment is what the container got.
func (a *Attached) Attachment() spec.Attachment { return a.att }

// Warnings are sentences about what does not work as it should on this host.
func (a *Attached) Warnings() []string { return a.warnings }

// Close ends published ports and names, takes the interfaces away and gives
// the addresses back. Calling it twice does nothing.
func (a *Attached) Close() error {
	a.mu.Lock()
	undo := a.undo
	a.undo = nil
	a.mu.Unlock()
	for _, f := range slices.Backward(undo) {
		f()
	}
	return nil
}

// Restore writes uplink and leases down again after the directory of their files
// was removed: other containers go on finding this one by its names, and new
// ones come to the same bridges.
func (a *Attached) Restore() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.undo == nil {
		return // closed
	}
	for _, restore := range a.restore {
		_ = restore()
	}
}

func (a *Attached) onClose(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.undo = append(a.undo, f)
}

// worker calls into ns until Close.
func (a *Attached) worker(ns *os.File) *netns.Worker {
	w := netns.NewWorker(ns)
	a.onClose(w.Close)
	return w
}

func (a *Attached) warn(s string) {
	if s != "" {
		a.warnings = append(a.warnings, s)
	}
}

// Attach sets plan up. ns is the container's network namespace, which belongs
// to the monitor's user namespace; it stays the caller's, and must stay open
// until Close. With the mode host ns is not touched and may be
// nil. On an error nothing is left. The connection outlives ctx.
func Attach(ctx context.Context, plan spec.NetworkPlan, ns *os.File, env Env) (*Attached, error) {
	a := &Attached{att: spec.Attachment{Mode: plan.Mode}}
	if err := a.attach(ctx, plan, ns, env); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *Attached) attach(ctx context.Context, plan spec.NetworkPlan, ns *os.File, env Env) error {
	if len(plan.Ports) > 0 && (plan.Mode == spec.NetHost || plan.Mode == spec.NetContainer || plan.Mode == spec.NetNone) {
		// Docker drops them with a warning, and scripts rely on it.
		a.warn("published ports are discarded when using network mode " + string(plan.Mode))
	}
	switch plan.Mode {
	case spec.NetHost:
		return a.host(env)
	case spec.NetNone:
		return netns.Do(func(int) error { return loopback() }, ns)
	case spec.NetBridge, "":
		a.att.Mode = spec.NetBridge
		return a.bridges(ctx, plan, ns, env)
	case spec.NetPasta, spec.NetSlirp4netns, spec.NetNetstack:
		return a.private(ctx, plan, ns, env)
	}
	return errs.New(errs.Invalid, "unknown network mode %q", plan.Mode)
}

func (a *Attached) host(env Env) error {
	conf := readResolvConf(env)
	a.att.Nameservers, a.att.Search = conf.Servers, conf.Search
	a.att.HostGateway = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	return nil
}

func readResolvConf(env Env) dns.ResolvConf {
	path := env.ResolvConf
	if path == "" {
		path = "/etc/resolv.conf"
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return dns.ResolvConf{}
	}
	return dns.Parse(data)
}

// bridges attaches the container to its bridge networks, eth0 first.
func (a *Attached) bridges(ctx context.Context, plan spec.NetworkPlan, ns *os.File, env Env) error {
	if len(plan.Bridges) == 0 {
		return errs.New(errs.Invalid, "a container on bridges needs at least one network")
	}
	published, err := ports.Listen(ctx, plan.Ports)
	if err != nil {
		return err
	}
	a.onClose(published.Close)
	s, err := a.join(plan, env)
	if err != nil {
		return err
	}
	leases, err := a.lease(plan, env, s)
	if err != nil {
		return err
	}
	w := wiring{plan: plan, leases: leases, container: ns}
	if err := netns.Do(w.step, s.Netns, ns); err != nil {
		w.remove()
		return errs.Wrap(err, "connect container to network", plan.Bridges[0].Network)
	}
	a.onClose(w.remove)
	if err := a.names(plan, env, w.dns, leases, ns); err != nil {
		return err
	}
	published.Serve(a.target(plan, leases, s, w.keepSource))
	a.att.Ports = published.Ports()
	a.describe(plan, leases, s)
	return nil
}

func (a *Attached) join(plan spec.NetworkPlan, env Env) (*uplink.Session, error) {
	proc, err := hostProc(env)
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	s, err := uplink.Join(plan.StateDir, proc)
	if err != nil {
		return nil, err
	}
	a.onClose(s.Close)
	a.restore = append(a.restore, func() error { return s.Restore(plan.StateDir) })
	a.warn(s.Info.Warning)
	if s.Dead {
		a.warn("the process that connects bridges with the outside was killed; the next container that starts brings it back")
	}
	return s, nil
}

// hostProc opens the host's /proc anew, so that the caller can close it.
func hostProc(env Env) (*os.File, error) {
	if env.HostProc == nil {
		return os.Open("/proc")
	}
	fd, err := unix.Openat(int(env.HostProc.Fd()), ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open the host's /proc", err)
	}
	return os.NewFile(uintptr(fd), "/proc"), nil
}

// ownPID is this process's pid for those who look through the host's /proc.
func ownPID(env Env) int {
	if env.HostProc == nil {
		return os.Getpid()
	}
	var buf [32]byte
	n, err := unix.Readlinkat(int(env.HostProc.Fd()), "self", buf[:])
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(string(buf[:n]))
	return pid
}

func (a *Attached) lease(plan spec.NetworkPlan, env Env, s *uplink.Session) ([]*ipam.Lease, error) {
	var leases []*ipam.Lease
	pid := ownPID(env)
	for _, b := range plan.Bridges {
		l, err := ipam.Acquire(ipam.Request{
			Dir: leaseDir(plan, b), Network: b.Network, Subnets: b.Subnets, Gateways: b.Gateways,
			IP: b.IP, IP6: b.IP6, MAC: b.MAC,
			Owner: ipam.Record{ID: plan.ID, Name: plan.Name, Hostname: plan.Hostname, Aliases: b.Aliases,
				RunDir: env.RunDir, PID: pid, NetnsFD: int(s.Netns.Fd()), FIFO: s.FIFO()},
		})
		if err != nil {
			return nil, err
		}
		a.onClose(l.Release)
		a.restore = append(a.restore, l.Restore)
		leases = append(leases, l)
	}
	return leases, nil
}

func leaseDir(plan spec.NetworkPlan, b spec.BridgePlan) string {
	return plan.StateDir + "/" + b.Network
}

// names starts the container's name server.
func (a *Attached) names(plan spec.NetworkPlan, env Env, sockets dns.Sockets, leases []*ipam.Lease, ns *os.File) error {
	cfg := dns.Config{Servers: plan.DNS.Servers, HostFile: env.ResolvConf, Worker: a.worker(ns)}
	var inside []netip.Prefix
	for i, b := range plan.Bridges {
		inside = append(inside, b.Subnets...)
		if b.Names {
			cfg.Networks = append(cfg.Networks, ipam.NewNames(leaseDir(plan, plan.Bridges[i])))
		}
	}
	// Only a server that was asked for by --dns can lie in the container's
	// networks; the host's resolvers are the host's.
	cfg.Inside = func(ip netip.Addr) bool {
		return len(plan.DNS.Servers) > 0 && (ip.IsLoopback() ||
			slices.ContainsFunc(inside, func(p netip.Prefix) bool { return p.Contains(ip) }))
	}
	srv, err := dns.Serve(sockets, cfg)
	if err != nil {
		return errs.Wrap(err, "start the name server of container", plan.Name)
	}
	a.onClose(srv.Close)
	a.resolver(plan, env)
	return nil
}

// resolver says what the container's resolv.conf is to contain.
func (a *Attached) resolver(plan spec.NetworkPlan, env Env) {
	a.att.Nameservers = []netip.Addr{dns.Address}
	a.att.Search = plan.DNS.Search
	if len(plan.DNS.Search) == 0 && len(plan.DNS.Servers) == 0 {
		a.att.Search = readResolvConf(env).Search
	}
}

// target tells the published ports where to go: the first network that is not
// cut off from the world, since only through it the container answers foreign
// addresses.
func (a *Attached) target(plan spec.NetworkPlan, leases []*ipam.Lease, s *uplink.Session, keep error) ports.Target {
	i := max(0, outbound(plan))
	t := ports.Target{Worker: a.worker(s.Netns), Mark: uplink.MarkForward, KeepUDP: true}
	for j, addr := range leases[i].Addrs {
		if addr.Is4() && !t.V4.IsValid() {
			t.V4, t.Gateway4 = addr, plan.Bridges[i].Gateways[j]
		} else if addr.Is6() && !t.V6.IsValid() {
			t.V6, t.Gateway6 = addr, plan.Bridges[i].Gateways[j]
		}
	}
	t.Transparent = keep == nil && outbound(plan) >= 0 && !s.Info.NoFilter
	if len(plan.Ports) > 0 && !t.Transparent && outbound(plan) >= 0 {
		a.warn("clients of published ports appear with the address of the bridge: this kernel does not let their own be kept")
	}
	return t
}

// outbound is the index of the network with the default route, or -1.
func outbound(plan spec.NetworkPlan) int {
	return slices.IndexFunc(plan.Bridges, func(b spec.BridgePlan) bool { return !b.Internal })
}

func (a *Attached) describe(plan spec.NetworkPlan, leases []*ipam.Lease, s *uplink.Session) {
	for i, b := range plan.Bridges {
		itf := spec.Interface{Name: ifaceName(i), Network: b.Network, MAC: leases[i].MAC, Aliases: b.Aliases}
		for j, addr := range leases[i].Addrs {
			itf.Addrs = append(itf.Addrs, netip.PrefixFrom(addr, b.Subnets[j].Bits()))
			if !b.Internal {
				itf.Gateways = append(itf.Gateways, b.Gateways[j])
			}
		}
		a.att.Interfaces = append(a.att.Interfaces, itf)
	}
	a.att.HostGateway = s.Info.Host
	if !a.att.HostGateway.IsValid() && outbound(plan) >= 0 {
		a.att.HostGateway = hostAddress()
	}
}

func ifaceName(i int) string { return "eth" + strconv.Itoa(i) }
