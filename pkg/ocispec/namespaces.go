// SPDX-License-Identifier: Apache-2.0

package ocispec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// AutoSize is the number of ids that --userns=auto gives a container.
const AutoSize = 1024

func (b *builder) namespaces() error {
	b.cfg.Namespaces.Add(configs.NEWNS, "")
	for _, step := range []func() error{b.userns, b.pidns, b.ipcns, b.utsns, b.cgroupns} {
		if err := step(); err != nil {
			return err
		}
	}
	switch b.in.Spec.Network.Mode {
	case spec.NetHost:
	case spec.NetNone:
		b.cfg.Namespaces.Add(configs.NEWNET, "")
		b.cfg.Networks = []*configs.Network{{Type: "loopback"}}
	default:
		// The monitor makes the namespace, sets it up and fills in the path.
		b.cfg.Namespaces.Add(configs.NEWNET, "")
	}
	return nil
}

func (b *builder) pidns() error {
	mode := b.in.Spec.Security.PidMode
	switch {
	case mode == "" || mode == "private":
		b.cfg.Namespaces.Add(configs.NEWPID, "")
	case mode == "host", b.in.Join.PID == HostNamespace && strings.HasPrefix(mode, "container:"):
		b.out.HostPID = true
	default:
		return b.join(configs.NEWPID, "pid", mode, b.in.Join.PID)
	}
	return nil
}

func (b *builder) ipcns() error {
	mode := b.in.Spec.Security.IpcMode
	switch {
	case mode == "" || mode == "private" || mode == "shareable" || mode == "none":
		b.cfg.Namespaces.Add(configs.NEWIPC, "")
	case b.hostIPC():
	default:
		return b.join(configs.NEWIPC, "ipc", mode, b.in.Join.IPC)
	}
	return nil
}

// hostIPC says that the container is in the host's IPC namespace, by its own wish
// or by that of the container whose namespace it joins.
func (b *builder) hostIPC() bool {
	mode := b.in.Spec.Security.IpcMode
	return mode == "host" || b.in.Join.IPC == HostNamespace && strings.HasPrefix(mode, "container:")
}

func (b *builder) utsns() error {
	p := &b.in.Spec.Process
	switch mode := b.in.Spec.Security.UtsMode; mode {
	case "", "private":
		b.cfg.Namespaces.Add(configs.NEWUTS, "")
		b.cfg.Hostname = b.hostname()
		b.cfg.Domainname = p.Domainname
	case "host":
		if p.Hostname != "" || p.Domainname != "" {
			return errs.WithHint(errs.New(errs.Invalid, "conflicting options: hostname and the UTS mode"), "leave out --hostname or --uts=host")
		}
	default:
		if p.Hostname != "" || p.Domainname != "" {
			return errs.WithHint(errs.New(errs.Invalid, "conflicting options: hostname and the UTS mode"), "leave out --hostname or --uts")
		}
		return b.join(configs.NEWUTS, "uts", mode, b.in.Join.UTS)
	}
	return nil
}

func (b *builder) cgroupns() error {
	switch mode := b.in.Spec.Security.CgroupnsMode; mode {
	case "private":
	case "host":
		return nil
	case "":
		// As Docker: private with cgroup v2, the host's with v1.
		if !b.in.Host.CgroupV2 {
			return nil
		}
	default:
		return errs.WithHint(errs.New(errs.Invalid, "invalid cgroup namespace mode %q", mode), "use --cgroupns private or --cgroupns host")
	}
	b.cfg.Namespaces.Add(configs.NEWCGROUP, "")
	return nil
}

func (b *builder) join(kind configs.NamespaceType, flag, mode, path string) error {
	if !strings.HasPrefix(mode, "container:") {
		return errs.WithHint(errs.New(errs.Invalid, "invalid %s namespace mode %q", flag, mode), "use host, private or container:NAME")
	}
	if b.nested { // the kernel does not let root of one mount what belongs to the other
		return errs.WithHint(errs.New(errs.Unsupported, "--%s=%s and --userns=%s exclude each other: that container is in another user namespace",
			flag, mode, b.in.Spec.Security.Userns), "leave out --userns")
	}
	if path == "" {
		return errs.WithHint(errs.New(errs.Unsupported, "--%s=%s: that container's namespace cannot be entered", flag, mode),
			"check that it is running, or leave out --%s", flag)
	}
	b.cfg.Namespaces.Add(kind, path)
	return nil
}

// userns adds a nested user namespace where a mode asks for one. Without, the
// container lives in the user's own namespace, which it shares with the user's
// other containers and their networks.
func (b *builder) userns() error {
	mode := b.in.Spec.Security.Userns
	if mode == "" || mode == "host" {
		return nil
	}
	uids, gids, err := b.mappings(mode)
	if err != nil {
		return err
	}
	b.cfg.Namespaces.Add(configs.NEWUSER, "")
	b.cfg.UIDMappings, b.cfg.GIDMappings = uids, gids
	b.nested = true
	return nil
}

func (b *builder) mappings(mode string) (uids, gids []configs.IDMap, err error) {
	name, _, _ := strings.Cut(mode, ":")
	h := &b.in.Host
	nu, ng := idCount(h.UIDs), idCount(h.GIDs)
	switch name {
	case "keep-id", "nomap", "auto":
	default:
		return nil, nil, errs.WithHint(errs.New(errs.Invalid, "invalid user namespace mode %q", mode), "use host, keep-id, auto or nomap")
	}
	if !h.Rootless && name != "auto" {
		return nil, nil, errs.WithHint(errs.New(errs.Unsupported, "--userns=%s is for unprivileged users", mode), "use --userns=auto, or leave it out")
	}
	if h.Rootless && (nu < 2 || ng < 2) && name != "keep-id" {
		return nil, nil, errs.WithHint(errs.New(errs.Unsupported, "--userns=%s needs subordinate ids", mode),
			"%s", h.moreIDs())
	}
	switch name {
	case "keep-id":
		uid, gid, err := keepID(mode, h)
		if err != nil {
			return nil, nil, err
		}
		b.out.Kept, b.out.KeptUID, b.out.KeptGID = true, int(uid), int(gid)
		return keepIDMap(uid, nu), keepIDMap(gid, ng), nil
	case "nomap":
		return []configs.IDMap{{ContainerID: 0, HostID: 1, Size: nu - 1}}, []configs.IDMap{{ContainerID: 0, HostID: 1, Size: ng - 1}}, nil
	}
	start := int64(b.in.AutoStart)
	if start == 0 || h.Rootless && (start+AutoSize > nu || start+AutoSize > ng) {
		return nil, nil, errs.WithHint(errs.New(errs.Unsupported, "--userns=auto: no %d ids are free", AutoSize),
			"remove containers that use --userns=auto, or get a larger range in /etc/subuid and /etc/subgid")
	}
	m := []configs.IDMap{{ContainerID: 0, HostID: start, Size: AutoSize}}
	return m, m, nil
}

// keepID reads the ids that the user shall have inside.
func keepID(mode string, h *Host) (uid, gid int64, err error) {
	uid, gid = int64(h.UID), int64(h.GID)
	_, opts, _ := strings.Cut(mode, ":")
	if opts == "" {
		return uid, gid, nil
	}
	for _, o := range strings.Split(opts, ",") {
		k, v, _ := strings.Cut(o, "=")
		n, err := strconv.ParseUint(v, 10, 31)
		switch {
		case err == nil && k == "uid":
			uid = int64(n)
		case err == nil && k == "gid":
			gid = int64(n)
		default:
			return 0, 0, errs.WithHint(errs.New(errs.Invalid, "invalid option %q in --userns=%s", o, mode), "write --userns=keep-id:uid=1000,gid=1000")
		}
	}
	return uid, gid, nil
}

// keepIDMap maps id inside to 0 of the user's namespace, which is the user
// himself, and moves the others aside. n is the number of ids in the user's
// namespace.
func keepIDMap(id, n int64) []configs.IDMap {
	var m []configs.IDMap
	if below := min(id, n-1); below > 0 {
		m = append(m, configs.IDMap{ContainerID: 0, HostID: 1, Size: below})
	}
	m = append(m, configs.IDMap{ContainerID: id, HostID: 0, Size: 1})
	if above := n - 1 - id; above > 0 {
		m = append(m, configs.IDMap{ContainerID: id + 1, HostID: id + 1, Size: above})
	}
	return m
}

// keepIDUser is the user that --userns=keep-id runs the process as.
func (b *builder) keepIDUser() string {
	mode := b.in.Spec.Security.Userns
	if name, _, _ := strings.Cut(mode, ":"); name != "keep-id" {
		return ""
	}
	uid, gid, err := keepID(mode, &b.in.Host)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d", uid, gid)
}

// idCount is the number of ids from 0 up in a namespace; without a map all.
func idCount(m []spec.IDMap) int64 {
	if len(m) == 0 {
		return 1<<32 - 1
	}
	var n int64
	for _, r := range m {
		n = max(n, int64(r.Inside)+int64(r.Count))
	}
	return n
}

// uidMapped and gidMapped report whether an id exists in the container's user namespace.
func (b *builder) uidMapped(id int64) bool {
	return b.mapped(b.cfg.UIDMappings, b.in.Host.UIDs, id)
}

func (b *builder) gidMapped(id int64) bool {
	return b.mapped(b.cfg.GIDMappings, b.in.Host.GIDs, id)
}

func (b *builder) mapped(own []configs.IDMap, user []spec.IDMap, id int64) bool {
	if b.nested {
		return slices.ContainsFunc(own, func(m configs.IDMap) bool { return id >= m.ContainerID && id < m.ContainerID+m.Size })
	}
	return len(user) == 0 || slices.ContainsFunc(user, func(m spec.IDMap) bool {
		return id >= int64(m.Inside) && id < int64(m.Inside)+int64(m.Count)
	})
}
