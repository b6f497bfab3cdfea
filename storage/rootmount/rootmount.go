// SPDX-License-Identifier: Apache-2.0

// Package rootmount makes root file systems of directories that are there: of a
// container, of an image's layers. It knows no store, only spec.Rootfs.
//
// All of it happens in the mount namespace of the caller.
package rootmount

import (
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/overlay"
	"github.com/proa-containers/proa/pkg/spec"
)

// View mounts r on dir. Read-only, the container may be running: its writable
// layer is then one more lower layer, because the kernel allows an upper
// directory one mount only. Writable, it must not run.
func View(r spec.Rootfs, dir string, writable bool) error {
	if err := Mend(r); err != nil {
		return err
	}
	if r.Dir != "" {
		if !writable {
			return BindReadOnly(r.Dir, dir)
		}
		return errs.Wrap(unix.Mount(r.Dir, dir, "", unix.MS_BIND|unix.MS_REC, ""), "mount", r.Dir)
	}
	if writable && len(r.Lowers) > 0 {
		return Overlay(r, dir)
	}
	if writable {
		return errs.Wrap(unix.Mount(r.Upper, dir, "", unix.MS_BIND, ""), "mount", r.Upper)
	}
	lowers := r.Lowers
	if r.Upper != "" {
		lowers = append([]string{r.Upper}, lowers...)
	}
	if len(lowers) == 1 {
		src := lowers[0]
		if !filepath.IsAbs(src) {
			src = filepath.Join(r.Home, src)
		}
		return BindReadOnly(src, dir)
	}
	r.Lowers, r.Upper, r.Work = lowers, "", ""
	return Overlay(r, dir)
}

// BindReadOnly shows the directory src at dir, for reading.
func BindReadOnly(src, dir string) error {
	return errs.Wrap(overlay.BindReadOnly(src, dir), "mount", src)
}

// Empty mounts a root file system without any file on dir, for reading.
func Empty(dir string) error {
	return errs.Wrap(unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, "mode=0755"), "mount", dir)
}

// Unmount ends what was mounted at dir by a driver of spec.Rootfs. What still
// runs in there keeps its view.
func Unmount(dir, driver string) error {
	if driver == overlay.FuseDriver {
		if exec.Command("fusermount3", "-u", dir).Run() == nil {
			return nil
		}
	}
	if err := unix.Unmount(dir, 0); err != nil {
		// Something still runs in there; the mount goes with it.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return errs.Wrap(err, "unmount", dir)
		}
	}
	return nil
}

// Below are the mount points at dir and in it, of this mount namespace.
func Below(dir string) ([]string, error) {
	list, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != dir && !strings.HasPrefix(m.Mountpoint, dir+"/"), false
	})
	var out []string
	for _, m := range list {
		out = append(out, m.Mountpoint)
	}
	return out, errs.Wrap(err, "read", "/proc/self/mountinfo")
}
