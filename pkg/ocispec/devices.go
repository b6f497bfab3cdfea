// SPDX-License-Identifier: Apache-2.0

package ocispec

import (
	"slices"
	"strings"

	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// defaultDevices are the nodes that every container has. In a user namespace,
// where mknod is refused, libcontainer binds the host's.
var defaultDevices = []HostDevice{
	{Path: "/dev/null", Type: 'c', Major: 1, Minor: 3, Mode: 0o666},
	{Path: "/dev/zero", Type: 'c', Major: 1, Minor: 5, Mode: 0o666},
	{Path: "/dev/full", Type: 'c', Major: 1, Minor: 7, Mode: 0o666},
	{Path: "/dev/random", Type: 'c', Major: 1, Minor: 8, Mode: 0o666},
	{Path: "/dev/urandom", Type: 'c', Major: 1, Minor: 9, Mode: 0o666},
	{Path: "/dev/tty", Type: 'c', Major: 5, Minor: 0, Mode: 0o666},
}

func (b *builder) devices() error {
	if b.userMount("/dev") {
		// The user's /dev is complete as it is.
		return b.checkDevices()
	}
	for _, d := range defaultDevices {
		b.cfg.Devices = append(b.cfg.Devices, d.node(d.Path, "rwm"))
	}
	if b.in.Spec.Security.Privileged {
		b.privilegedDevices()
	}
	for _, d := range b.in.Spec.Security.Devices {
		if err := b.addDevice(d); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) checkDevices() error {
	if len(b.in.Spec.Security.Devices) > 0 {
		return errs.WithHint(errs.New(errs.Invalid, "--device conflicts with a mount on /dev"), "leave out one of them")
	}
	return nil
}

// privilegedDevices gives a privileged container every device of the host that
// the user may open.
func (b *builder) privilegedDevices() {
	for _, d := range b.in.Host.Devices {
		own := func(n *devices.Device) bool { return n.Path == d.Path }
		if !d.Usable || slices.ContainsFunc(b.cfg.Devices, own) || reservedDevice(d.Path) {
			continue
		}
		b.cfg.Devices = append(b.cfg.Devices, d.node(d.Path, "rwm"))
	}
}

// reservedDevice names what libcontainer makes itself.
func reservedDevice(p string) bool {
	switch p {
	case "/dev/ptmx", "/dev/console", "/dev/core", "/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr":
		return true
	}
	return strings.HasPrefix(p, "/dev/pts/") || strings.HasPrefix(p, "/dev/shm/") || strings.HasPrefix(p, "/dev/mqueue/")
}

// addDevice is one --device; a directory stands for all devices in it.
func (b *builder) addDevice(d spec.Device) error {
	perms := firstOf(d.Permissions, "rwm")
	if b.isUserns() && (!strings.Contains(perms, "r") || !strings.Contains(perms, "w")) {
		return errs.WithHint(errs.New(errs.Unsupported, "--device %s: access %q cannot be enforced without root: the devices controller is not delegated to users", d.Host, perms),
			"leave the access out: file permissions of %s apply", d.Host)
	}
	found := false
	for _, h := range b.in.Host.Devices {
		rest, under := strings.CutPrefix(h.Path, d.Host)
		if !under || rest != "" && rest[0] != '/' {
			continue
		}
		if !h.Usable && rest == "" && b.in.Host.Rootless {
			return errs.WithHint(errs.New(errs.Denied, "--device %s: you may not open it", d.Host),
				"ask the administrator to add you to the group that owns it (ls -l %s)", d.Host)
		}
		found = true
		b.placeDevice(h, firstOf(d.Container, d.Host)+rest, perms)
	}
	if !found {
		return errs.WithHint(errs.New(errs.Invalid, "error gathering device information while adding custom device %q: no such file or directory", d.Host),
			"list the host's devices with \"ls -l /dev\"")
	}
	return nil
}

// placeDevice puts a device at target. libcontainer binds a node of the same
// name only, so another name is a bind mount of ours.
func (b *builder) placeDevice(h HostDevice, target, perms string) {
	b.cfg.Devices = slices.DeleteFunc(b.cfg.Devices, func(n *devices.Device) bool { return n.Path == target })
	if !b.isUserns() || target == h.Path {
		b.cfg.Devices = append(b.cfg.Devices, h.node(target, perms))
		return
	}
	b.cfg.Mounts = append(b.cfg.Mounts, &configs.Mount{
		Device: "bind", Source: h.Path, Destination: target, Flags: unix.MS_BIND, PropagationFlags: []int{rprivate},
	})
}

func (d HostDevice) node(path, perms string) *devices.Device {
	return &devices.Device{
		Rule: devices.Rule{Type: devices.Type(d.Type), Major: d.Major, Minor: d.Minor, Permissions: devices.Permissions(perms), Allow: true},
		Path: path, FileMode: d.Mode, Uid: d.UID, Gid: d.GID,
	}
}

// deviceRules is the allow-list of the devices controller, for real root.
func (b *builder) deviceRules() []*devices.Rule {
	if b.in.Spec.Security.Privileged {
		return []*devices.Rule{{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm", Allow: true}}
	}
	rules := []*devices.Rule{
		{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm"},
		{Type: devices.CharDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "m", Allow: true},
		{Type: devices.BlockDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "m", Allow: true},
		{Type: devices.CharDevice, Major: 136, Minor: devices.Wildcard, Permissions: "rwm", Allow: true}, // /dev/pts/*
		{Type: devices.CharDevice, Major: 5, Minor: 2, Permissions: "rwm", Allow: true},                  // /dev/ptmx
	}
	for _, d := range b.cfg.Devices {
		r := d.Rule
		rules = append(rules, &r)
	}
	return rules
}
