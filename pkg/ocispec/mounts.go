// SPDX-License-Identifier: Apache-2.0

package ocispec

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

const (
	nosuidNoexecNodev = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	defaultShmSize    = 64 << 20
)

func cleanPath(p string) string { return path.Clean("/" + p) }

// userMount reports whether the user mounts something exactly at target.
func (b *builder) userMount(target string) bool {
	return slices.ContainsFunc(b.in.Mounts, func(m spec.Mount) bool { return cleanPath(m.Target) == target })
}

// mounts orders as Docker does: the defaults that the user does not replace,
// then everything of the user and the generated files, parents first.
func (b *builder) mounts() error {
	ownDev := b.userMount("/dev")
	for _, m := range b.defaultMounts() {
		if b.userMount(m.Destination) || ownDev && strings.HasPrefix(m.Destination, "/dev/") {
			continue
		}
		b.cfg.Mounts = append(b.cfg.Mounts, m)
	}
	user := b.fileMounts()
	for _, m := range b.in.Mounts {
		c, err := b.userMountConfig(m)
		if err != nil {
			return err
		}
		user = append(user, c)
	}
	if b.in.Spec.Process.Init {
		user = append(user, &configs.Mount{
			Device: "bind", Source: firstOf(b.in.Spec.Process.InitPath, b.in.Host.InitPath), Destination: b.initTarget(),
			Flags: unix.MS_BIND | unix.MS_RDONLY, PropagationFlags: []int{rprivate},
		})
	}
	slices.SortStableFunc(user, func(x, y *configs.Mount) int {
		return strings.Count(path.Clean(x.Destination), "/") - strings.Count(path.Clean(y.Destination), "/")
	})
	b.cfg.Mounts = append(b.cfg.Mounts, user...)
	return nil
}

func (b *builder) defaultMounts() []*configs.Mount {
	ms := []*configs.Mount{
		b.procMount(),
		{Device: "tmpfs", Source: "tmpfs", Destination: "/dev", Flags: unix.MS_NOSUID | unix.MS_STRICTATIME, Data: "mode=755,size=65536k"},
		b.devptsMount(),
	}
	ms = append(ms, b.sysMounts()...)
	if m := b.mqueueMount(); m != nil {
		ms = append(ms, m)
	}
	if m := b.shmMount(); m != nil {
		ms = append(ms, m)
	}
	return ms
}

func (b *builder) procMount() *configs.Mount {
	if b.out.HostPID && b.isUserns() {
		// The kernel lets nobody mount a procfs of a pid namespace that he
		// does not own.
		return &configs.Mount{Device: "bind", Source: "/proc", Destination: "/proc",
			Flags: unix.MS_BIND | unix.MS_REC | nosuidNoexecNodev, PropagationFlags: []int{rprivate}}
	}
	return &configs.Mount{Device: "proc", Source: "proc", Destination: "/proc", Flags: nosuidNoexecNodev}
}

func (b *builder) devptsMount() *configs.Mount {
	data := "newinstance,ptmxmode=0666,mode=0620"
	if b.gidMapped(5) {
		data += ",gid=5"
	}
	return &configs.Mount{Device: "devpts", Source: "devpts", Destination: "/dev/pts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: data}
}

// sysMounts are /sys and /sys/fs/cgroup.
func (b *builder) sysMounts() []*configs.Mount {
	ro := unix.MS_RDONLY
	if b.in.Spec.Security.Privileged {
		ro = 0
	}
	cgroup := &configs.Mount{Device: "cgroup", Source: "cgroup", Destination: "/sys/fs/cgroup", Flags: nosuidNoexecNodev | ro}
	if !b.isUserns() || b.in.Spec.Network.Mode != spec.NetHost && !b.nested {
		sys := &configs.Mount{Device: "sysfs", Source: "sysfs", Destination: "/sys", Flags: nosuidNoexecNodev | ro}
		if b.isUserns() && !b.in.Host.CgroupV2 {
			return append([]*configs.Mount{sys}, b.cgroupV1Mounts()...)
		}
		return []*configs.Mount{sys, cgroup}
	}
	// A sysfs belongs to a network namespace, and only who owns that one may
	// mount it. The host's /sys, with what is mounted on it, takes its place;
	// nothing in there is writable to the user anyway.
	sys := &configs.Mount{Device: "bind", Source: "/sys", Destination: "/sys",
		Flags: unix.MS_BIND | unix.MS_REC | nosuidNoexecNodev | ro, PropagationFlags: []int{rprivate}}
	if ro != 0 && b.in.Host.kernelAtLeast(5, 12) {
		sys.RecAttr = &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	}
	if !b.in.Host.CgroupV2 {
		return []*configs.Mount{sys}
	}
	return []*configs.Mount{sys, cgroup}
}

// cgroupV1Mounts shows the host's hierarchies read-only: an unprivileged user
// owns none of them, and one bind mount costs less than a dozen.
func (b *builder) cgroupV1Mounts() []*configs.Mount {
	m := &configs.Mount{Device: "bind", Source: "/sys/fs/cgroup", Destination: "/sys/fs/cgroup",
		Flags: unix.MS_BIND | unix.MS_REC | nosuidNoexecNodev | unix.MS_RDONLY, PropagationFlags: []int{rprivate}}
	if b.in.Host.kernelAtLeast(5, 12) {
		m.RecAttr = &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	}
	return []*configs.Mount{m}
}

func (b *builder) mqueueMount() *configs.Mount {
	if b.hostIPC() && b.isUserns() {
		if !b.in.Host.Mqueue {
			return nil
		}
		return &configs.Mount{Device: "bind", Source: "/dev/mqueue", Destination: "/dev/mqueue",
			Flags: unix.MS_BIND | nosuidNoexecNodev, PropagationFlags: []int{rprivate}}
	}
	return &configs.Mount{Device: "mqueue", Source: "mqueue", Destination: "/dev/mqueue", Flags: nosuidNoexecNodev}
}

func (b *builder) shmMount() *configs.Mount {
	mode := b.in.Spec.Security.IpcMode
	bind := ""
	switch {
	case mode == "none":
		return nil
	case b.hostIPC():
		bind = "/dev/shm"
	case strings.HasPrefix(mode, "container:") && b.in.Join.Shm != "":
		bind = b.in.Join.Shm
	}
	if bind != "" {
		return &configs.Mount{Device: "bind", Source: bind, Destination: "/dev/shm",
			Flags: unix.MS_BIND | nosuidNoexecNodev, PropagationFlags: []int{rprivate}}
	}
	size := b.in.Spec.Resources.ShmSize
	if size <= 0 {
		size = defaultShmSize
	}
	return &configs.Mount{Device: "tmpfs", Source: "shm", Destination: "/dev/shm", Flags: nosuidNoexecNodev,
		Data: fmt.Sprintf("mode=1777,size=%d", size)}
}

// fileMounts are /etc/hosts and its like, unless the user brings his own.
func (b *builder) fileMounts() []*configs.Mount {
	var ms []*configs.Mount
	for _, f := range []struct{ source, target string }{
		{b.in.Files.ResolvConf, "/etc/resolv.conf"}, {b.in.Files.Hostname, "/etc/hostname"}, {b.in.Files.Hosts, "/etc/hosts"},
		{b.in.Files.ContainerEnv, containerEnv},
	} {
		if f.source == "" || b.userMount(f.target) {
			continue
		}
		m := &configs.Mount{Device: "bind", Source: f.source, Destination: f.target, Flags: unix.MS_BIND, PropagationFlags: []int{rprivate}}
		if b.in.Spec.Security.ReadOnly {
			m.Flags |= unix.MS_RDONLY
		}
		ms = append(ms, m)
	}
	return ms
}

// containerEnv is the file by which podman's containers are known.
const containerEnv = "/run/.containerenv"

// NeedsContainerEnv says that /run/.containerenv has to be mounted: in a privileged
// container it says whose it is, as with podman, and a tmpfs on /run hides the empty
// one that others find in their root.
func NeedsContainerEnv(privileged bool, mounts []spec.Mount) bool {
	need := privileged
	for _, m := range mounts {
		switch cleanPath(m.Target) {
		case "/run":
			if m.Type != spec.MountTmpfs {
				return false // a file would appear in a directory of the user's
			}
			need = true
		case containerEnv:
			return false
		}
	}
	return need
}

func (b *builder) userMountConfig(m spec.Mount) (*configs.Mount, error) {
	if !path.IsAbs(m.Target) {
		return nil, errs.WithHint(errs.New(errs.Invalid, "invalid mount path: '%s' mount path must be absolute", m.Target), "write /%s", m.Target)
	}
	target := path.Clean(m.Target)
	if target == "/" {
		return nil, errs.WithHint(errs.New(errs.Invalid, "invalid specification: destination can't be '/'"), "mount below a directory of the container")
	}
	if target == "/proc" || strings.HasPrefix(target, "/proc/") && !procMountAllowed[target] {
		return nil, errs.WithHint(errs.New(errs.Invalid, "cannot mount on %q: it is inside /proc", target), "choose a target outside of /proc")
	}
	if m.Type == spec.MountTmpfs {
		return b.tmpfsMount(m, target)
	}
	return b.bindMount(m, target)
}

// procMountAllowed is what lxcfs emulates; libcontainer lets nothing else be
// mounted in /proc.
var procMountAllowed = map[string]bool{
	"/proc/cpuinfo": true, "/proc/diskstats": true, "/proc/meminfo": true, "/proc/stat": true, "/proc/swaps": true,
	"/proc/uptime": true, "/proc/loadavg": true, "/proc/slabinfo": true,
}

func (b *builder) tmpfsMount(m spec.Mount, target string) (*configs.Mount, error) {
	c := &configs.Mount{Device: "tmpfs", Source: "tmpfs", Destination: target, Flags: nosuidNoexecNodev}
	var data []string
	if m.TmpfsSize > 0 {
		data = append(data, fmt.Sprintf("size=%d", m.TmpfsSize))
	}
	if m.TmpfsMode != 0 {
		data = append(data, fmt.Sprintf("mode=%o", m.TmpfsMode))
	}
	for _, o := range m.Options {
		// The kernel says "invalid argument" of an id that the namespace lacks.
		key, val, _ := strings.Cut(o, "=")
		id, _ := strconv.ParseInt(val, 10, 64)
		if key == "uid" && !b.uidMapped(id) || key == "gid" && !b.gidMapped(id) {
			return nil, errs.WithHint(errs.New(errs.Unsupported, "the tmpfs on %s cannot belong to %s %s: the user namespace has no such id",
				m.Target, key, val), "%s", b.in.Host.moreIDs())
		}
		if !applyFlag(c, o) {
			data = append(data, o)
		}
	}
	if m.ReadOnly {
		c.Flags |= unix.MS_RDONLY
	}
	c.Data = strings.Join(data, ",")
	return c, nil
}

// bindMount is a host directory, or a volume, which is one by now.
func (b *builder) bindMount(m spec.Mount, target string) (*configs.Mount, error) {
	if !path.IsAbs(m.Source) {
		return nil, errs.WithHint(errs.New(errs.Invalid, "invalid mount source %q: it is not an absolute path", m.Source), "write the whole path")
	}
	prop, err := b.propagation(m)
	if err != nil {
		return nil, err
	}
	c := &configs.Mount{Device: "bind", Source: path.Clean(m.Source), Destination: target, Flags: unix.MS_BIND, PropagationFlags: []int{prop}}
	if !m.NonRecursive {
		c.Flags |= unix.MS_REC
	}
	for _, o := range m.Options {
		if !applyFlag(c, o) {
			return nil, errs.WithHint(errs.New(errs.Invalid, "invalid mount option %q for %s", o, target),
				"options of a bind mount are ro, rw, exec, noexec, suid, nosuid, dev, nodev, atime, noatime, relatime, diratime, nodiratime")
		}
	}
	if m.ReadOnly {
		c.Flags |= unix.MS_RDONLY
		if !m.NonRecursive && b.in.Host.kernelAtLeast(5, 12) {
			// As Docker 25: what is mounted below becomes read-only, too.
			c.RecAttr = &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		}
	}
	return c, nil
}

func (b *builder) propagation(m spec.Mount) (int, error) {
	switch m.Propagation {
	case "", "rprivate":
		return rprivate, nil
	case "private":
		return unix.MS_PRIVATE, nil
	case "slave":
		return unix.MS_SLAVE, nil
	case "rslave":
		return unix.MS_SLAVE | unix.MS_REC, nil
	case "shared", "rshared":
		// The mount namespace of the monitor receives the host's mounts but
		// sends none: that is what keeps its own from leaking.
		return 0, errs.WithHint(errs.New(errs.Unsupported, "mount %s: propagation %q needs a mount namespace shared with the host", m.Target, m.Propagation),
			"use %s to see the host's mounts", strings.Replace(m.Propagation, "shared", "slave", 1))
	}
	return 0, errs.WithHint(errs.New(errs.Invalid, "mount %s: invalid propagation %q", m.Target, m.Propagation), "use private, rprivate, slave or rslave")
}

var mountFlags = map[string]struct {
	flag  int
	clear bool
}{
	"ro": {unix.MS_RDONLY, false}, "rw": {unix.MS_RDONLY, true},
	"nosuid": {unix.MS_NOSUID, false}, "suid": {unix.MS_NOSUID, true},
	"nodev": {unix.MS_NODEV, false}, "dev": {unix.MS_NODEV, true},
	"noexec": {unix.MS_NOEXEC, false}, "exec": {unix.MS_NOEXEC, true},
	"sync": {unix.MS_SYNCHRONOUS, false}, "async": {unix.MS_SYNCHRONOUS, true},
	"noatime": {unix.MS_NOATIME, false}, "atime": {unix.MS_NOATIME, true},
	"nodiratime": {unix.MS_NODIRATIME, false}, "diratime": {unix.MS_NODIRATIME, true},
	"relatime": {unix.MS_RELATIME, false}, "norelatime": {unix.MS_RELATIME, true},
	"strictatime": {unix.MS_STRICTATIME, false}, "nostrictatime": {unix.MS_STRICTATIME, true},
}

func applyFlag(c *configs.Mount, o string) bool {
	f, ok := mountFlags[o]
	if !ok {
		return false
	}
	if f.clear {
		c.Flags &^= f.flag
		c.ClearedFlags |= f.flag
	} else {
		c.Flags |= f.flag
		c.ClearedFlags &^= f.flag
	}
	return true
}
