// SPDX-License-Identifier: Apache-2.0

// Package ocispec turns what the user asked for into what libcontainer runs,
// with Docker's defaults. Build is pure: everything it needs to know about the
// machine comes in as a Host value, so its results are pinned by golden files.
package ocispec

import (
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// Input is everything that Build looks at.
type Input struct {
	ID    string // of the container, 64 hex digits
	Spec  spec.Container
	Image spec.ImageConfig
	Host  Host
	// Mounts are the container's bind mounts, volumes and tmpfs, those of the
	// image included. Source is an absolute path on the host, volumes too.
	Mounts []spec.Mount
	// Files are the generated files to mount over the image's; empty paths
	// leave the image's own.
	Files Files
	// Join holds paths of namespaces to enter, for the container:X modes. They
	// are opened by the monitor.
	Join Join
	// AutoStart is the first id of the slice that the caller reserved for
	// --userns=auto; 0: none was reserved.
	AutoStart uint32
}

// Files are paths on the host of generated files.
type Files struct {
	Hostname, Hosts, ResolvConf string
	// ContainerEnv is /run/.containerenv where an empty file in the root is not
	// enough: see NeedsContainerEnv.
	ContainerEnv string
}

// Join holds the namespaces of other containers. One that is the host's is
// HostNamespace: the monitor is in it already, and may not enter it.
type Join struct {
	PID, IPC, UTS string
	// Network is the mode that the shared network namespace was made with.
	Network spec.NetworkMode
	// Shm is the directory that holds the other container's /dev/shm.
	Shm string
}

// HostNamespace stands in Join for the path of a namespace.
const HostNamespace = "host"

// Output is what the monitor needs. Config is complete but for Rootfs and the
// path of the network namespace.
type Output struct {
	Config     *configs.Config
	Process    Process
	StopSignal string // canonical: SIGTERM, SIGRTMIN+3
	// HostPID says that --pid=host was asked for: the process must not be put
	// into a pid namespace of the monitor's own.
	HostPID bool
	// KeptUID and KeptGID are the user's own ids in the container, where Kept says
	// that it has them: --userns keep-id.
	Kept             bool
	KeptUID, KeptGID int
	Warnings         []string
}

// Process has the fields of monitor.Process, to which it converts.
type Process struct {
	Args           []string
	Env            []string
	Dir            string
	User           string
	AdditionalGIDs []string
	TTY            bool
	Rows, Cols     uint16
	OpenStdin      bool
	StdinOnce      bool
}

// builder carries one Build.
type builder struct {
	in  *Input
	cfg *configs.Config
	out *Output
	// nested is true when the container gets a user namespace inside the
	// user's.
	nested bool
}

// Build makes the configuration of a container. Whatever it refuses is an
// errs.Error with a hint.
func Build(in *Input) (*Output, error) {
	cfg := &configs.Config{
		Readonlyfs:      in.Spec.Security.ReadOnly,
		NoNewPrivileges: in.Spec.Security.NoNewPrivs,
	}
	b := &builder{in: in, cfg: cfg, out: &Output{Config: cfg}}
	for _, step := range []func() error{
		b.process, b.namespaces, b.capabilities, b.seccomp, b.apparmor, b.mounts, b.devices,
		b.maskedPaths, b.rlimits, b.sysctls, b.cgroup, b.oomScore,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return b.out, nil
}

func (b *builder) warn(s string) { b.out.Warnings = append(b.out.Warnings, s) }

// maskedPaths hides what Docker hides: kernel state that is not namespaced and
// tells about, or changes, the host.
func (b *builder) maskedPaths() error {
	sec := &b.in.Spec.Security
	for _, p := range sec.Mask {
		if !sec.Privileged && !strings.HasPrefix(p, "/") {
			return errs.WithHint(errs.New(errs.Invalid, "masked path %q is not absolute", p),
				"write --security-opt mask=/PATH[:/PATH...]")
		}
	}
	b.cfg.MaskPaths, b.cfg.ReadonlyPaths = HiddenPaths(sec, b.in.Host.ThermalPaths)
	return nil
}

// HiddenPaths are the paths that a container finds empty, and those that it cannot
// change.
func HiddenPaths(sec *spec.Security, thermal []string) (masked, readonly []string) {
	if sec.Privileged {
		return nil, nil
	}
	unmask := func(p string) bool {
		for _, u := range sec.Unmask {
			if strings.EqualFold(u, "all") || cleanPath(u) == p {
				return true
			}
		}
		return false
	}
	for _, list := range [][]string{defaultMasked, thermal} {
		for _, p := range list {
			if !unmask(p) {
				masked = append(masked, p)
			}
		}
	}
	for _, p := range sec.Mask {
		masked = append(masked, cleanPath(p))
	}
	for _, p := range defaultReadonly {
		if !unmask(p) {
			readonly = append(readonly, p)
		}
	}
	return masked, readonly
}

var defaultMasked = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware",
}

var defaultReadonly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

func (b *builder) apparmor() error {
	p := b.in.Spec.Security.AppArmor
	if p == "" || p == "unconfined" {
		return nil
	}
	if !b.in.Host.AppArmor {
		return errs.WithHint(errs.New(errs.Unsupported, "apparmor profile %q: AppArmor is not enabled on this host", p),
			"leave out --security-opt apparmor=%s", p)
	}
	b.cfg.AppArmorProfile = p
	return nil
}

// isUserns reports whether the container runs without real root: in the
// user's namespace, or in one nested in it.
func (b *builder) isUserns() bool { return b.in.Host.Rootless || b.nested }

const rprivate = unix.MS_PRIVATE | unix.MS_REC
