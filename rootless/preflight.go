// SPDX-License-Identifier: Apache-2.0

package rootless

import (
	"fmt"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/rootless/cgroup"
)

// Check is one line of the preflight: what was looked at, whether all is well,
// and otherwise why not and what to do about it.
type Check struct {
	What string
	OK   bool
	// Needed: containers do not run without it. Otherwise something is slower
	// or missing.
	Needed bool
	Why    string // with OK: what was found
	Fix    string
}

// Preflight looks at everything that a container of this user may need.
func (f *Facts) Preflight() []Check {
	return []Check{
		f.checkIDs(), f.checkOverlay(), f.checkNetwork(), f.checkCgroup(), f.checkSeccomp(), f.checkData(),
	}
}

func failed(c Check, err error) Check {
	c.OK, c.Why, c.Fix = false, err.Error(), errs.HintOf(err)
	return c
}

func (f *Facts) checkIDs() Check {
	c := Check{What: "user and group ids"}
	if !f.Rootless() {
		c.OK, c.Why = true, "root: all ids of the host"
		return c
	}
	m, warning, err := f.Mapping()
	if err != nil {
		return failed(c, err)
	}
	if m.Single {
		why, fix, _ := strings.Cut(warning, "; to fix it: ")
		c.Why, c.Fix = why, fix
		return c
	}
	var n uint64
	for _, r := range m.UIDs {
		n += uint64(r.Count)
	}
	sub, _ := f.Subordinate()
	c.OK, c.Why = true, fmt.Sprintf("%d ids from %s", n, sub.Source)
	return c
}

func (f *Facts) checkOverlay() Check {
	c := Check{What: "layers", Needed: true}
	err := f.NativeOverlay()
	if err == nil {
		c.OK, c.Why = true, "native overlay"
		return c
	}
	if p := f.FuseOverlayfs(); p.Path != "" {
		if derr := f.Device("/dev/fuse"); derr != nil {
			c = failed(c, derr)
			c.Fix = "load the module and open the device: sudo modprobe fuse && sudo chmod 666 /dev/fuse"
			return c
		}
		c.OK, c.Why = true, fmt.Sprintf("fuse-overlayfs %s, since native overlay does not work: %v", p.Version, err)
		return c
	}
	// Copies of all layers still work.
	c.Needed = false
	return failed(c, err)
}

func (f *Facts) checkNetwork() Check {
	c := Check{What: "network"}
	if !f.Rootless() {
		c.OK, c.Why = true, "root: the host's own"
		return c
	}
	if err := f.Device("/dev/net/tun"); err != nil {
		c = failed(c, err)
		c.Fix = "load the module and open the device: sudo modprobe tun && sudo chmod 666 /dev/net/tun; until then use --network host or none"
		return c
	}
	for _, p := range []Program{f.Slirp4netns(), f.Pasta()} {
		if p.Path != "" {
			c.OK, c.Why = true, strings.TrimSpace(p.Name+" "+p.Version)
			return c
		}
	}
	c.Why, c.Fix = "neither slirp4netns nor pasta is installed: the built-in network stack is used, which takes more memory", "sudo apt-get install slirp4netns"
	return c
}

func (f *Facts) checkCgroup() Check {
	p := f.Cgroup()
	c := Check{What: "limits (cgroups)", OK: p.Kind != cgroup.None && p.Reason == "", Why: p.Reason, Fix: p.Fix}
	if c.OK {
		c.Why = p.Kind.String() + ": " + strings.Join(p.Controllers, " ")
	}
	return c
}

func (f *Facts) checkSeccomp() Check {
	if f.Seccomp() {
		return Check{What: "seccomp", OK: true, Why: "filters are enforced"}
	}
	return Check{What: "seccomp", Why: "the kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)", Fix: "use a distribution's kernel; until then --security-opt seccomp=unconfined"}
}

func (f *Facts) checkData() Check {
	c := Check{What: "data directory", Needed: true}
	fsys, err := f.DataFilesystem()
	if err != nil {
		return failed(c, err)
	}
	c.OK, c.Why = true, f.dirs.Data+" on "+fsys.Type
	if fsys.Network {
		c.OK, c.Needed = false, false
		c.Why += ", a network file system: overlays do not work there and locks may not"
		c.Fix = "set PROA_DATA_DIR to a directory on a local disk"
	}
	return c
}
