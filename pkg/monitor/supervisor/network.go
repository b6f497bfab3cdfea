// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"context"
	"io"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor/process"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
)

// Network connects a container's network namespace to the world. The monitor
// itself takes care of the modes none, host and container; every other one is
// the driver's.
type Network interface {
	// Attach sets plan up for the namespace netns, whose loopback interface is
	// up already; netns stays the caller's. On an error nothing is left. The
	// returned link lives as long as the container, restarts included; closing
	// it, once, gives back addresses and ports.
	Attach(ctx context.Context, plan spec.NetworkPlan, netns *os.File) (spec.Attachment, io.Closer, error)
}

// driver is the network driver, or nil.
func (s *supervisor) driver() Network {
	if s.o.Network == nil {
		return nil
	}
	return s.o.Network(s.in.proc)
}

// netSetup is a container's network on its way.
type netSetup struct {
	netns      *os.File // nil: the host's
	attachment spec.Attachment
	warnings   []string
	link       io.Closer // may be nil
	done       chan struct{}
	err        error
}

func (n *netSetup) close() {
	if n == nil {
		return
	}
	if n.link != nil {
		_ = n.link.Close()
	}
	if n.netns != nil {
		n.netns.Close()
	}
}

// startNetwork makes or finds the namespace at once and connects it in the
// background: mounts and libcontainer's create need the namespace alone.
func startNetwork(ctx context.Context, d Network, plan spec.NetworkPlan, host process.HostView) (*netSetup, error) {
	n := &netSetup{done: make(chan struct{}), attachment: spec.Attachment{Mode: plan.Mode}}
	var err error
	switch plan.Mode {
	case spec.NetHost:
		close(n.done)
		return n, nil
	case spec.NetContainer:
		n.netns, err = joinNetns(plan.JoinRunDir, host)
		close(n.done)
		return n, err
	}
	if plan.Mode != spec.NetNone && d == nil {
		return nil, errs.New(errs.Unsupported, "this monitor has no network driver for %q", plan.Mode)
	}
	if n.netns, err = newNetns(); err != nil {
		return nil, errs.Wrap(err, "make a network namespace", "")
	}
	if plan.Mode == spec.NetNone {
		close(n.done)
		return n, nil
	}
	go func() {
		defer close(n.done)
		n.attachment, n.link, n.err = d.Attach(ctx, plan, n.netns)
		if w, ok := n.link.(interface{ Warnings() []string }); ok {
			n.warnings = w.Warnings()
		}
	}()
	return n, nil
}

// newNetns makes a network namespace with its loopback interface up, held by
// the returned file alone.
func newNetns() (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	ch := make(chan result)
	go func() {
		// The thread is never unlocked: it ends with the goroutine, and no
		// other one can find itself in the wrong namespace.
		runtime.LockOSThread()
		f, err := unshareNet()
		ch <- result{f, err}
	}()
	r := <-ch
	return r.f, r.err
}

func unshareNet() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("unshare", err)
	}
	if err := loopbackUp(); err != nil {
		return nil, err
	}
	return os.Open("/proc/thread-self/ns/net")
}

// loopbackUp uses the old ioctl: one call where netlink takes a socket, two
// messages and their parser.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("ioctl(SIOCSIFFLAGS)", unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr))
}

// joinNetns opens the network namespace of another live container.
func joinNetns(runDir string, host process.HostView) (*os.File, error) {
	notRunning := errs.New(errs.State, "cannot join the network of a container that is not running")
	if !rundir.Locked(runDir) {
		return nil, notRunning
	}
	st, err := rundir.ReadHead(runDir)
	if err != nil || st.MonitorPID == 0 ||
		host.StartTime(st.MonitorPID) != st.MonitorStart {
		return nil, notRunning
	}
	name := strconv.Itoa(st.MonitorPID) + "/ns/net"
	if st.NetnsFD > 0 {
		name = strconv.Itoa(st.MonitorPID) + "/fd/" + strconv.Itoa(st.NetnsFD)
	}
	f, err := host.Open(name, 0)
	return f, errs.Wrap(err, "open the network namespace of", runDir)
}
