// SPDX-License-Identifier: Apache-2.0

package ocispec

import (
	"slices"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// allCaps is indexed by the kernel's capability number.
var allCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// defaultCaps are Docker's fourteen.
var defaultCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

const capAll = "ALL"

// defaultCaps are what the container has without --cap-add and --cap-drop.
//
// The stacks slirp4netns and pasta open a connection for every frame that they
// get, also for one to 127.0.0.1: the host's. Where one of them is behind eth0,
// who writes raw frames reaches the host's loopback, so the right to do that is
// the user's to give. Bridges have the kernel's router in between, and the
// built-in stack refuses such frames.
func (b *builder) defaultCaps() []string {
	mode := b.in.Spec.Network.Mode
	if mode == spec.NetContainer && b.in.Join.Network != "" {
		mode = b.in.Join.Network
	}
	switch mode {
	case spec.NetSlirp4netns, spec.NetPasta, spec.NetContainer:
	default:
		return defaultCaps
	}
	return slices.DeleteFunc(slices.Clone(defaultCaps), func(c string) bool { return c == "CAP_NET_RAW" })
}

func (b *builder) capabilities() error {
	caps, err := Capabilities(&b.in.Spec.Security, b.defaultCaps(), b.in.Host.LastCap)
	if err != nil {
		return err
	}
	// What root itself has lost (in a container, or by a unit's bounding set)
	// nobody can be given.
	if lost := b.in.Host.LostCaps; len(lost) > 0 {
		for _, c := range b.in.Spec.Security.CapAdd {
			if name := "CAP_" + strings.TrimPrefix(strings.ToUpper(c), "CAP_"); slices.Contains(lost, name) {
				return errs.WithHint(errs.New(errs.Denied, "capability %s was taken from this root user: it cannot be given to a container", name), "leave out --cap-add %s", c)
			}
		}
		caps = slices.DeleteFunc(caps, func(c string) bool { return slices.Contains(lost, c) })
	}
	// Inheritable and ambient stay empty, as in Docker since CVE-2022-24769:
	// a process that changes to another user loses everything.
	b.cfg.Capabilities = &configs.Capabilities{Bounding: caps, Effective: caps, Permitted: caps}
	return nil
}

// Capabilities is the set that --privileged, --cap-add and --cap-drop make of
// the defaults.
// Names may lack "CAP_" and be in any case. lastCap is the kernel's highest
// capability; what it does not know is left out of ALL.
func Capabilities(sec *spec.Security, defaults []string, lastCap int) ([]string, error) {
	add, err := normalizeCaps(sec.CapAdd, "CapAdd")
	if err != nil {
		return nil, err
	}
	drop, err := normalizeCaps(sec.CapDrop, "CapDrop")
	if err != nil {
		return nil, err
	}
	known := allCaps[:min(lastCap+1, len(allCaps))]
	var caps []string
	switch {
	case sec.Privileged:
		return slices.Clone(known), nil
	case slices.Contains(add, capAll):
		for _, c := range known {
			if !slices.Contains(drop, c) {
				caps = append(caps, c)
			}
		}
		return caps, nil
	case slices.Contains(drop, capAll):
	default:
		for _, c := range defaults {
			if !slices.Contains(drop, c) {
				caps = append(caps, c)
			}
		}
	}
	for _, c := range add {
		if !slices.Contains(known, c) {
			return nil, errs.WithHint(errs.New(errs.Unsupported, "capability %q is not known to this kernel", c), "leave out --cap-add %s", c)
		}
		if !slices.Contains(caps, c) {
			caps = append(caps, c)
		}
	}
	return caps, nil
}

func normalizeCaps(names []string, field string) ([]string, error) {
	var out []string
	for _, n := range names {
		c := strings.ToUpper(strings.TrimSpace(n))
		if c != capAll && !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		if c == "CAP_"+capAll {
			c = capAll
		}
		if c != capAll && !slices.Contains(allCaps, c) {
			return nil, errs.WithHint(errs.New(errs.Invalid, "invalid %s: unknown capability: %q", field, c),
				"known are ALL, %s", strings.ReplaceAll(strings.Join(allCaps, ", "), "CAP_", ""))
		}
		out = append(out, c)
	}
	return out, nil
}
