// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"os/exec"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/overlay"
	"github.com/proa-containers/proa/pkg/spec"
)

// shiftRootfs makes the files of an image belong to the right ids in a
// container with a user namespace of its own: the image's root must be the
// container's root. The kernel lets no unprivileged user map ids in a mount, so
// fuse-overlayfs does it, at once and without copying a file. Without it
// keep-id still works, with the image's files owned by the user, unless it has
// written to the container's layer already.
func (e *Engine) shiftRootfs(r spec.Rootfs, c *configs.Config, userns string) (spec.Rootfs, error) {
	if len(c.UIDMappings) == 0 || r.Driver != "overlay" && r.Driver != overlay.FuseDriver {
		return r, nil
	}
	program, err := exec.LookPath("fuse-overlayfs")
	if err == nil {
		err = unix.Access("/dev/fuse", unix.R_OK|unix.W_OK)
	}
	if err != nil {
		why := "fuse-overlayfs is not installed, or /dev/fuse is closed to you"
		if userns != "keep-id" || r.Driver == overlay.FuseDriver {
			return r, errs.WithHint(errs.New(errs.Unsupported, "--userns=%s is not possible here: %s", userns, why), "apt-get install fuse-overlayfs")
		}
		e.notice("the files of the image appear as yours and not as root's: " + why)
		return r, nil
	}
	r.Driver, r.Program = overlay.FuseDriver, program
	r.UIDMap, r.GIDMap = idMaps(c.UIDMappings), idMaps(c.GIDMappings)
	return r, nil
}

func idMaps(ms []configs.IDMap) []spec.IDMap {
	out := make([]spec.IDMap, 0, len(ms))
	for _, m := range ms {
		out = append(out, spec.IDMap{Inside: uint32(m.ContainerID), Outside: uint32(m.HostID), Count: uint32(m.Size)})
	}
	return out
}
