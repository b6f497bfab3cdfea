// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/network/rtnl"
)

// Descriptors that Ensure hands over.
const (
	fdFIFO   = 3
	fdReady  = 4
	fdOld    = 5
	fdParked = 20 // lowest number for the namespace, out of the drivers' way
)

// config is what Ensure tells the process, as its only argument.
type config struct {
	Driver       Driver       `json:"driver"`
	Subnet       netip.Prefix `json:"subnet"` // of the tap, IPv4
	IPv6         bool         `json:"ipv6"`
	HostLoopback bool         `json:"hostLoopback"`
	Old          bool         `json:"old"` // the namespace is handed over
	Netstack     []string     `json:"netstack,omitempty"`
}

func (c config) host() netip.Addr { return c.Subnet.Masked().Addr().Next().Next() }

// Main is the uplink process, started by Ensure inside the user's namespace.
// It does not return while the uplink lives: it becomes the driver's process,
// or waits for the end of its last user. The caller exits with the error.
func Main(args []string) error {
	ready := os.NewFile(fdReady, "ready")
	err := run(args, ready)
	if err != nil {
		_ = json.NewEncoder(ready).Encode(hello{Error: err.Error()})
	}
	return err
}

func run(args []string, ready *os.File) error {
	var c config
	if len(args) != 1 {
		return errors.New("uplink is started by proa only")
	}
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return fmt.Errorf("cannot read the uplink's configuration: %w", err)
	}
	// Its own session: what the terminal sends to the command that happened to
	// start the uplink is not meant for it. It may have been done already.
	_, _ = unix.Setsid()
	ns, err := c.namespace()
	if err != nil {
		return err
	}
	var filterErr error
	err = netns.Do(func(int) error {
		if filterErr = setFilter(); filterErr == nil {
			filterErr = forwarding()
		}
		return prepare()
	}, ns)
	if err != nil {
		return err
	}
	fd, err := unix.FcntlInt(ns.Fd(), unix.F_DUPFD, fdParked)
	if err != nil {
		return err
	}
	ino, err := netns.Inode(ns)
	if err != nil {
		return err
	}
	h := hello{NetnsFD: fd, Inode: ino}
	if filterErr != nil {
		h.NoFilter = filterErr.Error()
	}
	if err := json.NewEncoder(ready).Encode(h); err != nil {
		return err
	}
	if err := boundLog(); err != nil {
		return err
	}
	return c.become(ns, fd, ready)
}

// namespace is the one that containers still use, or a new one.
func (c config) namespace() (*os.File, error) {
	if c.Old {
		return os.NewFile(fdOld, "netns"), nil
	}
	return netns.New()
}

// forwarding makes the calling thread's namespace a router. Only with the
// filter in place: without it networks would not be apart. What stays within
// one bridge must not pass through the filter, whatever the host does with its
// own bridges.
func forwarding() error {
	for _, s := range []struct{ name, value string }{
		{"ipv4/ip_forward", "1"}, {"ipv6/conf/all/forwarding", "1"},
		{"bridge/bridge-nf-call-iptables", "0"}, {"bridge/bridge-nf-call-ip6tables", "0"},
		// A router takes its own address from slirp4netns only when told twice.
		{"ipv6/conf/default/accept_ra", "2"},
		// Nobody else is here, and a bridge whose address is still being
		// checked finds no neighbours for a second or two.
		{"ipv6/conf/default/accept_dad", "0"},
	} {
		err := os.WriteFile("/proc/sys/net/"+s.name, []byte(s.value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cannot turn on forwarding: %w", err)
		}
	}
	return nil
}

// prepare brings the loopback interface up, and the routes that bring answers
// to transparent sockets.
func prepare() error {
	c, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	var b rtnl.Batch
	b.Up(1)
	b.AddLocalTable(false, markAnswer)
	if err := c.Do(&b); err != nil {
		return err
	}
	b.AddLocalTable(true, markAnswer)
	if err := c.Do(&b); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	return setFilter()
}

// become replaces this process by the driver's, or stays beside a driver that
// cannot watch the fifo itself.
func (c config) become(ns *os.File, fd int, ready *os.File) error {
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	switch c.Driver {
	case Slirp4netns:
		return execute(c.slirp(path))
	case Netstack:
		return execute(append(append([]string(nil), c.Netstack...), c.netstack(fd)...))
	case Pasta:
		return c.besidePasta(ns, ready)
	}
	if _, err := ready.WriteString("1"); err != nil {
		return err
	}
	ready.Close()
	return waitForUsers()
}

// maxLog bounds what the stack writes, which is its log, in memory: containers
// can make it complain for as long as it lives.
const maxLog = 1 << 20

// boundLog makes writes beyond maxLog fail, here and in the stack's program.
func boundLog() error {
	signal.Ignore(unix.SIGXFSZ)
	return os.NewSyscallError("setrlimit", unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: maxLog, Max: maxLog}))
}

func (c config) slirp(netns string) []string {
	args := []string{string(Slirp4netns), "--configure", fmt.Sprintf("--mtu=%d", MTU),
		"--cidr=" + c.Subnet.String(), "--netns-type=path", "--disable-dns",
		fmt.Sprintf("--exit-fd=%d", fdFIFO), fmt.Sprintf("--ready-fd=%d", fdReady),
		"--enable-sandbox", "--enable-seccomp"}
	if !c.HostLoopback {
		args = append(args, "--disable-host-loopback")
	}
	if c.IPv6 {
		args = append(args, "--enable-ipv6")
	}
	return append(args, netns, tapName)
}

func (c config) netstack(ns int) []string {
	args := []string{"--netns-fd", fmt.Sprint(ns), "--exit-fd", fmt.Sprint(fdFIFO), "--ready-fd", fmt.Sprint(fdReady),
		"--subnet", c.Subnet.String(), "--interface", tapName, "--mtu", fmt.Sprint(MTU)}
	if c.HostLoopback {
		args = append(args, "--host-loopback")
	}
	return args
}

func execute(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	// Go marks what it does not know as inherited; these must be.
	for _, fd := range []uintptr{fdFIFO, fdReady} {
		if _, err := unix.FcntlInt(fd, unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	return fmt.Errorf("cannot run %s: %w", path, syscall.Exec(path, args, os.Environ()))
}

// besidePasta runs pasta as a child: it knows no exit descriptor.
func (c config) besidePasta(ns *os.File, ready *os.File) error {
	args := PastaArgs("/proc/self/fd/3", tapName)
	if !c.HostLoopback {
		args = append(args, "--no-map-gw")
	}
	cmd := exec.Command(string(Pasta), args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.ExtraFiles = []*os.File{ns}
	// The death signal follows the thread that started the child.
	runtime.LockOSThread()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := WaitTap(ns, ended); err != nil {
		return err
	}
	if _, err := ready.WriteString("1"); err != nil {
		return err
	}
	ready.Close()
	users := make(chan error, 1)
	go func() { users <- waitForUsers() }()
	select {
	case err := <-users:
		_ = cmd.Process.Kill()
		<-ended
		return err
	case err := <-ended:
		return fmt.Errorf("pasta ended: %v", err)
	}
}

// waitForUsers returns when the last writer of the fifo has closed it.
func waitForUsers() error {
	p := []unix.PollFd{{Fd: fdFIFO, Events: 0}}
	for {
		_, err := unix.Poll(p, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err
	}
}
