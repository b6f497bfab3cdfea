// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/proa-containers/proa/network/dns"
	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/network/ports"
	"github.com/proa-containers/proa/network/rtnl"
	"github.com/proa-containers/proa/network/uplink"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

const privateTap = "eth0"

// private gives the container a user-mode network stack of its own, as a child
// of the monitor.
func (a *Attached) private(ctx context.Context, plan spec.NetworkPlan, ns *os.File, env Env) error {
	published, err := ports.Listen(ctx, plan.Ports)
	if err != nil {
		return err
	}
	a.onClose(published.Close)
	opt, err := parseOptions(plan)
	if err != nil {
		return err
	}
	if err := netns.Do(func(int) error { return loopback() }, ns); err != nil {
		return err
	}
	if err := uplink.PastaRefuses(); err != nil && plan.Mode == spec.NetPasta {
		return errs.WithHint(errs.New(errs.Unsupported, "%v", err), "use --network slirp4netns, or run proa as a user without root's rights")
	}
	stack := userStack{mode: plan.Mode, opt: opt, env: env, ns: ns}
	if err := stack.start(ctx); err != nil {
		return explainStack(plan.Mode, err)
	}
	a.onClose(stack.stop)
	var p privateNet
	if err := netns.Do(func(int) error { return p.inspect(plan) }, ns); err != nil {
		return err
	}
	plan.Bridges = nil
	if err := a.names(plan, env, p.dns, nil, ns); err != nil {
		return err
	}
	published.Serve(p.target(a.worker(ns)))
	if p.keep != nil && len(plan.Ports) > 0 {
		a.warn("clients of published ports appear with the container's own address: " + p.keep.Error())
	}
	a.att.Ports = published.Ports()
	a.att.Interfaces = []spec.Interface{p.itf}
	a.att.HostGateway = hostAddress()
	if opt.hostLoopback {
		a.att.HostGateway = opt.hostAddress(plan.Mode, p.itf)
	}
	return nil
}

func explainStack(mode spec.NetworkMode, err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return errs.WithHint(&errs.Error{Op: "start " + string(mode), Kind: errs.Unsupported, Err: err},
			"install it (apt-get install %s), or use --network netstack", map[spec.NetworkMode]string{
				spec.NetPasta: "passt", spec.NetSlirp4netns: "slirp4netns"}[mode])
	}
	return errs.WithHint(&errs.Error{Op: "start " + string(mode), Kind: errs.KindOf(err), Err: err},
		"check that /dev/net/tun exists and everybody may open it: sudo chmod 0666 /dev/net/tun")
}

// options are what follows "pasta:" or "slirp4netns:".
type options struct {
	mtu          int
	subnet       netip.Prefix // of slirp4netns
	ipv6         bool
	hostLoopback bool
	args         []string // pasta's own
}

// hostAddress is where the stack maps the host's loopback to.
func (o options) hostAddress(mode spec.NetworkMode, itf spec.Interface) netip.Addr {
	if mode == spec.NetPasta {
		if len(itf.Gateways) > 0 {
			return itf.Gateways[0]
		}
		return netip.Addr{}
	}
	return o.subnet.Masked().Addr().Next().Next()
}

func parseOptions(plan spec.NetworkPlan) (options, error) {
	o := options{mtu: uplink.MTU, subnet: netip.MustParsePrefix("10.0.2.0/24")}
	if plan.Mode == spec.NetPasta {
		for _, v := range plan.Options {
			if v == "--map-gw" {
				o.hostLoopback = true
				continue
			}
			o.args = append(o.args, v)
		}
		return o, nil
	}
	for _, v := range plan.Options {
		if err := o.set(v); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (o *options) set(v string) error {
	key, val, _ := strings.Cut(v, "=")
	bad := errs.WithHint(errs.New(errs.Invalid, "invalid slirp4netns option %q", v),
		"use mtu=1500, cidr=10.0.2.0/24, enable_ipv6=true or allow_host_loopback=true")
	var err error
	switch key {
	case "mtu":
		_, err = fmt.Sscanf(val, "%d", &o.mtu)
		if err == nil && (o.mtu < 576 || o.mtu > 65521) {
			err = bad
		}
	case "cidr":
		o.subnet, err = netip.ParsePrefix(val)
		if err == nil && (!o.subnet.Addr().Is4() || o.subnet.Bits() > 25) {
			err = bad
		}
	case "enable_ipv6":
		o.ipv6 = val == "true"
	case "allow_host_loopback":
		o.hostLoopback = val == "true"
	case "port_handler":
		// podman's choice of who forwards ports: here it is always the monitor,
		// which keeps the source address as its "slirp4netns" handler does.
	default:
		return errs.WithHint(errs.New(errs.Unsupported, "slirp4netns option %q is not supported", key),
			"use mtu, cidr, enable_ipv6 or allow_host_loopback")
	}
	if err != nil {
		return bad
	}
	return nil
}

// userStack is the child process.
type userStack struct {
	mode spec.NetworkMode
	opt  options
	env  Env
	ns   *os.File

	cmd   *exec.Cmd
	ended chan error
	log   logTail
	keep  *os.File // the child's exit descriptor hangs up when we are gone
}

// Descriptors of the child.
const (
	childNS    = 3
	childReady = 4
	childExit  = 5
)

func (u *userStack) command() []string {
	path := fmt.Sprintf("/proc/self/fd/%d", childNS)
	var args []string
	switch u.mode {
	case spec.NetPasta:
		args = append([]string{"pasta"}, uplink.PastaArgs(path, privateTap)...)
		if !u.opt.hostLoopback {
			args = append(args, "--no-map-gw")
		}
		return append(args, u.opt.args...)
	case spec.NetNetstack:
		args = append(append(args, u.env.Netstack...), "--netns-fd", fmt.Sprint(childNS), "--ready-fd", fmt.Sprint(childReady),
			"--exit-fd", fmt.Sprint(childExit), "--subnet", u.opt.subnet.String(), "--interface", privateTap, "--mtu", fmt.Sprint(u.opt.mtu))
		if u.opt.hostLoopback {
			args = append(args, "--host-loopback")
		}
		return args
	}
	args = []string{"slirp4netns", "--configure", fmt.Sprintf("--mtu=%d", u.opt.mtu), "--cidr=" + u.opt.subnet.String(),
		"--netns-type=path", "--disable-dns", fmt.Sprintf("--ready-fd=%d", childReady), fmt.Sprintf("--exit-fd=%d", childExit),
		"--enable-sandbox", "--enable-seccomp"}
	if u.opt.ipv6 {
		args = append(args, "--enable-ipv6")
	}
	if !u.opt.hostLoopback {
		args = append(args, "--disable-host-loopback")
	}
	return append(args, path, privateTap)
}

// logTail keeps the end of what a stack says: a container can make it talk, for
// as long as it lives.
type logTail struct {
	mu   sync.Mutex
	text []byte
}

func (l *logTail) Write(p []byte) (int, error) {
	const keep = 4 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p[max(0, len(p)-keep):]...)
	if n := len(l.text); n > keep {
		l.text = append(l.text[:0], l.text[n-keep:]...)
	}
	return len(p), nil
}

// lastLine is the last line that is not empty.
func (l *logTail) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.TrimSpace(string(l.text))
	return text[strings.LastIndexByte(text, '\n')+1:]
}

func (u *userStack) start(ctx context.Context) error {
	if u.mode == spec.NetNetstack && len(u.env.Netstack) == 0 {
		return errs.New(errs.Unsupported, "this build has no network stack of its own")
	}
	ready, readyW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	defer readyW.Close()
	exitR, exitW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer exitR.Close()
	u.keep = exitW
	args := u.command()
	u.cmd = exec.Command(args[0], args[1:]...)
	u.cmd.ExtraFiles = []*os.File{u.ns, readyW, exitR}
	u.cmd.Stdout, u.cmd.Stderr = nil, &u.log
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := u.cmd.Start(); err != nil {
		exitW.Close()
		return err
	}
	readyW.Close()
	u.ended = make(chan error, 1)
	go func() { u.ended <- u.cmd.Wait() }()
	if err := u.wait(ctx, ready); err != nil {
		u.stop()
		return fmt.Errorf("%w: %s", err, u.log.lastLine())
	}
	return nil
}

// wait returns when the stack has configured the interface.
func (u *userStack) wait(ctx context.Context, ready *os.File) error {
	if u.mode == spec.NetPasta {
		return uplink.WaitTap(u.ns, u.ended)
	}
	defer context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })()
	_ = ready.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := bufio.NewReader(ready).ReadByte(); err != nil {
		return errors.New("it ended before it was ready")
	}
	return nil
}

func (u *userStack) stop() {
	_ = u.cmd.Process.Kill()
	<-u.ended
	u.ended <- nil
	u.keep.Close()
}

// privateNet is what the stack set up.
type privateNet struct {
	itf  spec.Interface
	dns  dns.Sockets
	keep error
}

// inspect reads the addresses back, opens the name server's sockets, and
// prepares the answers to clients with foreign addresses.
func (p *privateNet) inspect(plan spec.NetworkPlan) error {
	c, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	index, err := c.Index(privateTap)
	if err != nil {
		return err
	}
	// The stack would pass on to the host's loopback what reaches it for
	// 127.0.0.1: its options stop only the address it translates.
	var b rtnl.Batch
	b.KeepLoopback(index)
	if err := c.Do(&b); err != nil {
		return err
	}
	addrs, err := c.Addrs()
	if err != nil {
		return err
	}
	p.itf.Name = privateTap
	for _, a := range addrs {
		if a.Index == index && a.Global {
			p.itf.Addrs = append(p.itf.Addrs, a.Prefix)
		}
	}
	routes, err := c.Routes()
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.Index == index && r.Dst.Bits() == 0 && r.Gateway.IsValid() {
			p.itf.Gateways = append(p.itf.Gateways, r.Gateway)
		}
	}
	p.keep = p.prepareReplies(c, plan.Ports)
	p.dns, err = dns.Open()
	return err
}

func (p *privateNet) prepareReplies(c *rtnl.Conn, published []spec.Port) error {
	var b rtnl.Batch
	for _, port := range published {
		if port.Protocol == "tcp" {
			b.AddLocalReplies(false, port.ContainerPort)
		}
	}
	if err := c.Do(&b); err != nil || len(published) == 0 {
		return err
	}
	return ports.CanKeepSource(0)
}

// target connects from within the container's own namespace.
func (p *privateNet) target(w *netns.Worker) ports.Target {
	t := ports.Target{Worker: w, Transparent: p.keep == nil}
	for _, a := range p.itf.Addrs {
		if ip := a.Addr(); ip.Is4() && !t.V4.IsValid() {
			t.V4, t.Gateway4 = ip, ip
		}
	}
	if !t.V4.IsValid() {
		t.V4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return t
}
