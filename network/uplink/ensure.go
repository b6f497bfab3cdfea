// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/rtnl"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
)

// Options say how an uplink is started when there is none.
type Options struct {
	StateDir string // dirs.Net
	// Program is proa-monitor; it is called as "proa-monitor uplink ...".
	Program string
	// Netstack is the command that runs the built-in network stack (proa's own
	// path and "__netstack"); empty: not available.
	Netstack []string
	// Driver selects; empty: the first that this host has of slirp4netns,
	// pasta, netstack, none.
	Driver Driver
	// HostLoopback lets containers reach services on the host's 127.0.0.1.
	HostLoopback bool
	// Start starts the command in the user's namespace and returns its pid as
	// the caller sees it. Nil: cmd.Start.
	Start func(*exec.Cmd) (pid int, err error)
}

// Hold keeps the uplink alive until Close. The front end closes it when the
// monitor, which has its own share, has answered.
type Hold struct {
	Info Info
	fifo *os.File
}

// Close gives the share back. Calling it twice does nothing.
func (h *Hold) Close() error { return h.fifo.Close() }

// Ensure finds the user's live uplink, or starts one. Many callers at once
// start one. Info.Warning says what does not work on this host.
func Ensure(ctx context.Context, o Options) (*Hold, error) {
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return nil, errs.Wrap(err, "start the uplink in", o.StateDir)
	}
	f := files{o.StateDir}
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, errs.Wrap(err, "start the uplink in", o.StateDir)
	}
	defer proc.Close()
	l, err := f.acquire(unix.LOCK_EX)
	if err != nil {
		return nil, errs.Wrap(err, "start the uplink in", o.StateDir)
	}
	defer l.Close()
	h, used, err := f.find(proc)
	if err != nil || h != nil {
		return h, errs.Wrap(err, "find the uplink in", o.StateDir)
	}
	h, err = o.start(ctx, f, proc, used)
	return h, errs.Wrap(err, "start the uplink", "")
}

// find returns the live uplink. used says that it is dead but has users: it
// must be replaced in its place.
func (f files) find(proc *os.File) (h *Hold, used bool, err error) {
	w, err := f.openFIFO(proc, unix.O_WRONLY)
	alive := err == nil
	if errors.Is(err, unix.ENXIO) {
		w, err = f.openFIFO(proc, unix.O_RDWR)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if filelock.Flock(w, unix.LOCK_EX|unix.LOCK_NB) == nil {
		w.Close()
		return nil, false, nil
	}
	info, ierr := f.readInfo()
	if !alive || ierr != nil {
		w.Close()
		return nil, true, nil
	}
	if err := filelock.Flock(w, unix.LOCK_SH); err != nil {
		w.Close()
		return nil, false, err
	}
	return &Hold{Info: info, fifo: w}, false, nil
}

func (o Options) start(ctx context.Context, f files, proc *os.File, used bool) (*Hold, error) {
	drivers, warning, err := o.choose()
	if err != nil {
		return nil, err
	}
	var old *os.File
	if used {
		old = o.oldNamespace(f, proc)
		if old != nil {
			defer old.Close()
		}
	}
	if !used {
		// Whoever still reads the old one is about to end.
		_ = os.Remove(f.fifo())
		if err := unix.Mkfifo(f.fifo(), 0o600); err != nil {
			return nil, err
		}
	}
	var failed error
	for _, d := range drivers {
		h, err := o.launch(ctx, f, proc, d, old)
		if err == nil {
			if d != drivers[0] || d == None {
				h.Info.Warning = joinText(strings.TrimPrefix(h.Info.Warning+"; "+warning, "; "), failed)
			}
			return h, f.writeInfo(h.Info)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", d, err))
	}
	return nil, failed
}

func joinText(warning string, err error) string {
	if err != nil {
		warning = strings.TrimPrefix(warning+"; "+strings.ReplaceAll(err.Error(), "\n", "; "), "; ")
	}
	return warning
}

func (o Options) oldNamespace(f files, proc *os.File) *os.File {
	info, err := f.readInfo()
	if err != nil {
		return nil
	}
	return f.fromHolders(proc, info.Inode)
}

// choose lists the drivers to try, and says what is missing when only "none"
// is left.
func (o Options) choose() ([]Driver, string, error) {
	missing := func(d Driver) string {
		if d == Slirp4netns || d == Pasta {
			if _, err := exec.LookPath(string(d)); err != nil {
				return string(d) + " is not installed"
			}
			if err := unix.Access("/dev/net/tun", unix.R_OK|unix.W_OK); err != nil {
				return fmt.Sprintf("%s needs /dev/net/tun: %v", d, err)
			}
		}
		if err := PastaRefuses(); d == Pasta && err != nil {
			return err.Error()
		}
		if d == Netstack && len(o.Netstack) == 0 {
			return "this build has no network stack of its own"
		}
		return ""
	}
	if o.Driver != "" {
		if m := missing(o.Driver); m != "" {
			return nil, "", errs.WithHint(errs.New(errs.Unsupported, "%s", m),
				"apt-get install slirp4netns; sudo chmod 0666 /dev/net/tun; or choose another network driver")
		}
		return []Driver{o.Driver}, "containers on bridges cannot reach the outside: that is what the driver none is for", nil
	}
	var out []Driver
	var why []string
	for _, d := range []Driver{Slirp4netns, Pasta, Netstack} {
		if m := missing(d); m != "" {
			why = append(why, m)
			continue
		}
		out = append(out, d)
	}
	text := "containers on bridges cannot reach the outside: " + strings.Join(why, "; ")
	return append(out, None), strings.TrimSuffix(text, ": "), nil
}

// launch starts one process with one driver and waits until the network is up.
func (o Options) launch(ctx context.Context, f files, proc *os.File, d Driver, old *os.File) (*Hold, error) {
	c := config{Driver: d, HostLoopback: o.HostLoopback, Netstack: o.Netstack, Old: old != nil}
	c.Subnet, c.IPv6 = hostFacts()
	arg, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	r, err := f.openFIFO(proc, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	w, err := f.openFIFO(proc, unix.O_WRONLY)
	if err != nil {
		return nil, err
	}
	h := &Hold{fifo: w, Info: Info{Driver: d, IPv6: c.IPv6}}
	if o.HostLoopback && d != None {
		h.Info.Host = c.host()
	}
	if err = filelock.Flock(w, unix.LOCK_SH); err == nil {
		err = o.run(ctx, f, string(arg), []*os.File{r, old}, &h.Info)
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return h, nil
}

func (o Options) run(ctx context.Context, f files, arg string, in []*os.File, info *Info) error {
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	log, err := os.Create(f.log())
	if err != nil {
		theirs.Close()
		return err
	}
	defer log.Close()
	cmd := exec.Command(o.Program, "uplink", arg)
	cmd.ExtraFiles = []*os.File{in[0], theirs}
	if in[1] != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, in[1])
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	start := o.Start
	if start == nil {
		start = func(c *exec.Cmd) (int, error) { err := c.Start(); return pidOf(c), err }
	}
	info.PID, err = start(cmd)
	theirs.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = ready.SetReadDeadline(time.Now().Add(10 * time.Second))
	if err := waitReady(ready, info); err != nil {
		_ = unix.Kill(info.PID, unix.SIGKILL)
		reap(cmd)
		return explain(err, f.log())
	}
	// It outlives this command; should it end before, somebody must reap it.
	go reap(cmd)
	return nil
}

func pidOf(c *exec.Cmd) int {
	if c.Process == nil {
		return 0
	}
	return c.Process.Pid
}

func reap(cmd *exec.Cmd) {
	if cmd.Process != nil && cmd.ProcessState == nil {
		_ = cmd.Wait()
	}
}

// hello is Main's one line on the ready pipe.
type hello struct {
	NetnsFD int    `json:"netnsFd,omitempty"`
	Inode   uint64 `json:"inode,omitempty"`
	// NoFilter is why there is no packet filter.
	NoFilter string `json:"noFilter,omitempty"`
	Error    string `json:"error,omitempty"`
}

func waitReady(r *os.File, info *Info) error {
	br := bufio.NewReader(r)
	line, err := br.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("it ended before its network was set up: %w", err)
	}
	var h hello
	if err := json.Unmarshal(line, &h); err != nil {
		return fmt.Errorf("unexpected answer %q", line)
	}
	if h.Error != "" {
		return errors.New(h.Error)
	}
	info.NetnsFD, info.Inode = h.NetnsFD, h.Inode
	if h.NoFilter != "" {
		info.NoFilter = true
		info.Warning = "containers on bridges cannot reach the outside: " + h.NoFilter
	}
	if b, err := br.ReadByte(); err != nil || b != '1' {
		if err == nil || errors.Is(err, io.EOF) {
			return errors.New("it ended before it was ready")
		}
		return err
	}
	return nil
}

// explain adds the last line that the process wrote.
func explain(err error, log string) error {
	data, rerr := os.ReadFile(log)
	if data = bytes.TrimSpace(data); rerr != nil || len(data) == 0 {
		return err
	}
	lines := bytes.Split(data, []byte("\n"))
	return fmt.Errorf("%w: %s", err, lines[len(lines)-1])
}

// hostFacts chooses a block for the tap that the host does not use itself, and
// tells whether the host has a way out by IPv6.
func hostFacts() (subnet netip.Prefix, v6 bool) {
	subnet = netip.MustParsePrefix("10.0.2.0/24")
	routes, err := hostRoutes()
	if err != nil {
		return subnet, false
	}
	used := func(p netip.Prefix) bool {
		for _, r := range routes {
			if r.Dst.Bits() > 0 && r.Dst.Overlaps(p) {
				return true
			}
		}
		return false
	}
	for _, r := range routes {
		v6 = v6 || (r.Dst.Addr().Is6() && r.Dst.Bits() == 0)
	}
	for i := byte(2); i < 255; i++ {
		if p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, i, 0}), 24); !used(p) {
			return p, v6
		}
	}
	return subnet, v6
}

func hostRoutes() ([]rtnl.Route, error) {
	c, err := rtnl.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Routes()
}

// HostPrefixes are the destinations that the calling process's network
// namespace has routes for, the default route left out: what a bridge's subnet
// must not overlap with.
func HostPrefixes() ([]netip.Prefix, error) {
	routes, err := hostRoutes()
	if err != nil {
		return nil, errs.Wrap(err, "list the host's routes", "")
	}
	var out []netip.Prefix
	for _, r := range routes {
		if r.Dst.Bits() > 0 {
			out = append(out, r.Dst)
		}
	}
	return out, nil
}
