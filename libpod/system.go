// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/logs"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/version"
	"github.com/proa-containers/proa/rootless/userns"
)

// Info is what `info` shows about this host and this store.
type Info struct {
	Version           string
	Containers        int
	Running           int
	Paused            int
	Stopped           int
	Images            int
	StorageDriver     string
	StorageRoot       string
	RunRoot           string
	DatabasePath      string
	DatabaseJournal   string // wal or truncate
	OS                string // PRETTY_NAME
	Kernel            string
	Arch              string
	CPUs              int
	Memory            uint64 // bytes
	Hostname          string
	Rootless          bool
	SubordinateIDs    bool // /etc/subuid and newuidmap are usable
	CgroupVersion     int
	CgroupControllers []string // that limits can use here
	CgroupDriver      string
	Uplink            string // slirp4netns, pasta, netstack
	Networks          []string
	LogDriver         string
	LogDrivers        []string
	Warnings          []string
}

// LogDrivers are the values of --log-driver.
var LogDrivers = logs.Drivers

// Info collects facts; it fails only where the database cannot be read.
func (e *Engine) Info(ctx context.Context) (*Info, error) {
	i := &Info{Version: version.Version, StorageDriver: "overlay", StorageRoot: e.dirs.Storage(), RunRoot: e.dirs.Run,
		DatabasePath: e.dirs.DB(), OS: osName(), Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Memory: hostMemory(),
		Rootless: os.Geteuid() != 0 || userns.Inside(), LogDriver: defaultLogDriver, LogDrivers: LogDrivers}
	i.Hostname, _ = os.Hostname()
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		i.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	e.namespaceFacts(i)
	cgroupInfo(i)
	i.Uplink = uplinkProgram()
	if list, err := e.images.List(); err == nil {
		i.Images = len(list)
	} else {
		i.Warnings = append(i.Warnings, err.Error())
	}
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	if i.DatabaseJournal, err = db.Journal(); err != nil {
		return nil, err
	}
	nets, err := db.Networks()
	if err != nil {
		return nil, err
	}
	i.Networks = []string{defaultNetwork, "host", "none"}
	for _, n := range nets {
		if n.Name != defaultNetwork {
			i.Networks = append(i.Networks, n.Name)
		}
	}
	list, err := e.containers(ctx, true)
	if err != nil {
		return nil, err
	}
	i.Containers = len(list)
	for _, c := range list {
		switch c.State {
		case lifecycle.Running, lifecycle.Restarting:
			i.Running++
		case lifecycle.Paused:
			i.Paused++
		default:
			i.Stopped++
		}
	}
	return i, nil
}

func (e *Engine) namespaceFacts(i *Info) {
	if !i.Rootless || userns.Inside() {
		i.SubordinateIDs = true
		return
	}
	m, warning, err := userns.LookupMapping()
	i.SubordinateIDs = err == nil && !m.Single
	if warning != "" {
		i.Warnings = append(i.Warnings, warning)
	}
}

// uplinkProgram is the program that connects bridges with the world here.
func uplinkProgram() string {
	for _, p := range []string{"slirp4netns", "pasta"} {
		if _, err := exec.LookPath(p); err == nil {
			return p
		}
	}
	return "netstack"
}

func osName() string {
	for _, p := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		f, err := os.Open(p)
		if err != nil {
			continue
		}
		defer f.Close()
		s := bufio.NewScanner(f)
		for s.Scan() {
			if v, ok := strings.CutPrefix(s.Text(), "PRETTY_NAME="); ok {
				return strings.Trim(v, `"'`)
			}
		}
	}
	return "Linux"
}

func hostMemory() uint64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	kb, _ := strconv.ParseUint(f[1], 10, 64)
	return kb << 10
}

// Version is what `version` shows.
type Version struct {
	Version   string
	GoVersion string
	Commit    string
	Built     string
	OS        string
	Arch      string
}

// Version never touches the disk.
func (e *Engine) Version() Version {
	return Version{Version: version.Version, Commit: version.Commit, Built: version.Built, GoVersion: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
}

// Unshare runs a program inside the user's namespace with the caller's streams
// and returns its status as *errs.ExitError. Empty argv: $SHELL.
func (e *Engine) Unshare(ctx context.Context, argv []string) error {
	if len(argv) == 0 {
		argv = []string{"/bin/sh"}
		if sh := os.Getenv("SHELL"); sh != "" {
			argv[0] = sh
		}
	}
	if userns.Inside() {
		return unshareHere(argv)
	}
	if os.Geteuid() == 0 {
		return errs.WithHint(errs.New(errs.Unsupported, "cannot unshare as root: there is no user namespace to enter"), "run the command itself, or proa as an unprivileged user")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return errs.New(errs.CommandMissing, "%s: command not found", argv[0])
	}
	ns, err := e.namespace(ctx)
	if err != nil {
		return err
	}
	defer ns.Close()
	code, err := userns.Reexec(ctx, ns, append([]string{unshareCommand, path}, argv...), e.dirEnv()...)
	if err != nil {
		return err
	}
	return exitError(code)
}

// unshareCommand is the hidden command of Unshare's other side.
const unshareCommand = "__unshare"

// runUnshare becomes the program: args are its path and its argv.
func runUnshare(args []string) error {
	if len(args) < 2 || !userns.Inside() {
		return errs.New(errs.Invalid, "%s is for proa's own use", unshareCommand)
	}
	err := unix.Exec(args[0], args[1:], os.Environ())
	return &errs.Error{Op: "execute", Kind: errs.CannotInvoke, Object: args[1], Err: err}
}

func unshareHere(argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return errs.New(errs.CommandMissing, "%s: command not found", argv[0])
	}
	return runUnshare(append([]string{path}, argv...))
}

// settleCommand is the hidden command of a detached monitor.
const settleCommand = "__settle"

func runSettle(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errs.New(errs.Invalid, "%s is for proa's own use", settleCommand)
	}
	e, err := openDefault(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	return e.Settle(ctx, args[0])
}

// Settle finishes the record of a container whose monitor has ended: the
// hidden command `__settle ID`, which a detached monitor of a container with
// AutoRemove starts as its last act. A container that is gone is no error.
func (e *Engine) Settle(ctx context.Context, id string) error {
	db, err := e.db()
	if err != nil {
		return err
	}
	row, err := db.Get(id)
	if err != nil || row == nil {
		return err
	}
	_, err = e.reconcile(ctx, row)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	return err
}

// Leaks lists what should not be there while no command is at work: runtime
// directories without a live monitor, container directories without a record,
// records without a directory, one sentence each.
func (e *Engine) Leaks(_ context.Context) (list []string, err error) {
	ids, err := e.runIDs()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if !rundir.Alive(e.paths(id)) {
			list = append(list, fmt.Sprintf("runtime directory %s has no live monitor", e.dirs.ContainerRun(id)))
		}
	}
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	rows, err := db.List()
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if _, err := os.Lstat(e.dirs.Container(r.ID)); err != nil {
			list = append(list, fmt.Sprintf("container %s (%s, %s) has no data directory", r.Name, r.ID[:12], r.State))
		}
	}
	volumes, containers, err := e.findLost()
	for _, l := range append(volumes, containers...) {
		list = append(list, fmt.Sprintf("directory %s has no record", l.path))
	}
	return list, err
}
