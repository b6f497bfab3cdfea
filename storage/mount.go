// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// MountLayer mounts a layer with all below it, for reading, in the caller's
// mount namespace. release unmounts; calling it twice is fine.
func (s *Store) MountLayer(_ context.Context, top Layer) (dir string, release func() error, err error) {
	return s.mountTemporary(func(dir string) (string, error) {
		r, err := s.mountReadOnly(top, dir)
		return r.Driver, err
	})
}

// MountView mounts a container's root file system in the caller's mount
// namespace. Read-only, the container may be running: its writable layer is
// then one more lower layer, because the kernel allows an upper directory one
// mount only. Writable, it must not run. release unmounts; calling it twice is
// fine.
func (s *Store) MountView(r spec.Rootfs, writable bool) (dir string, release func() error, err error) {
	return s.mountTemporary(func(dir string) (string, error) { return r.Driver, mountView(r, dir, writable) })
}

// mountTemporary mounts something on a new directory, which a later writing
// call clears away should this process be killed.
func (s *Store) mountTemporary(mount func(dir string) (driver string, err error)) (dir string, release func() error, err error) {
	o, err := s.begin(false)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			o.end(&err)
		}
	}()
	base, err := os.MkdirTemp(s.tmpDir(), "mount-")
	if err != nil {
		return "", nil, err
	}
	driver, err := mount(base)
	if err != nil {
		_ = os.Remove(base)
		return "", nil, err
	}
	var once sync.Once
	return base, func() (err error) {
		once.Do(func() {
			err = unmount(base, driver)
			if rerr := os.Remove(base); err == nil {
				err = rerr
			}
			o.end(&err)
		})
		return err
	}, nil
}

// MountImage mounts an image on dir for reading, until somebody unmounts it or
// the mount namespace ends.
func (s *Store) MountImage(img *Image, dir string) error {
	if img.List {
		return errs.New(errs.Invalid, "%s is a list of images for several platforms, not an image", img.ID[:12])
	}
	if err := s.needKernel(); err != nil {
		return err
	}
	_, err := s.mountReadOnly(s.TopLayer(img), dir)
	return err
}

// MountContainer is MountImage for a container's root file system.
func (s *Store) MountContainer(r spec.Rootfs, dir string) error {
	if err := s.needKernel(); err != nil {
		return err
	}
	return mountView(r, dir, false)
}

// needKernel refuses mounts that a process serves: it would outlive the mount
// namespace, which it keeps alive.
func (s *Store) needKernel() error {
	if p, err := s.fuseProgram(); err != nil || p == "" {
		return err
	}
	return errs.New(errs.Unsupported, "the kernel cannot mount the layers for an unprivileged user, and fuse-overlayfs would stay when the shell has ended")
}

func mountView(r spec.Rootfs, dir string, writable bool) error {
	if err := Mend(r); err != nil {
		return err
	}
	if r.Dir != "" {
		if !writable {
			return bindReadOnly(r.Dir, dir)
		}
		return errs.Wrap(unix.Mount(r.Dir, dir, "", unix.MS_BIND|unix.MS_REC, ""), "mount", r.Dir)
	}
	if writable && len(r.Lowers) > 0 {
		return mountOverlay(r, dir)
	}
	if writable {
		return errs.Wrap(unix.Mount(r.Upper, dir, "", unix.MS_BIND, ""), "mount", r.Upper)
	}
	lowers := r.Lowers
	if r.Upper != "" {
		lowers = append([]string{r.Upper}, lowers...)
	}
	if len(lowers) == 1 {
		if !filepath.IsAbs(lowers[0]) {
			lowers[0] = filepath.Join(r.Home, lowers[0])
		}
		return bindReadOnly(lowers[0], dir)
	}
	r.Lowers, r.Upper, r.Work = lowers, "", ""
	return mountOverlay(r, dir)
}

func (s *Store) mountReadOnly(top Layer, dir string) (spec.Rootfs, error) {
	r := spec.Rootfs{Driver: "overlay", Home: s.Home(), ReadOnly: true}
	if s.Driver() == "vfs" && top.ID != "" {
		return r, bindReadOnly(filepath.Join(s.root, "vfs", "dir", top.ID), dir)
	}
	if top.ID == "" {
		return r, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, "mode=0755")
	}
	lowers, _, ok := s.Lowers(top.ID)
	if !ok {
		return r, errs.New(errs.NotFound, "layer %s is not in the store", top.ID)
	}
	r.Lowers = lowers
	if err := Mend(r); err != nil {
		return r, err
	}
	if len(lowers) == 1 {
		return r, bindReadOnly(filepath.Join(s.Home(), lowers[0]), dir)
	}
	if p, err := s.fuseProgram(); err != nil {
		return r, err
	} else if p != "" {
		r.Driver, r.Program = "fuse-overlayfs", p
	}
	return r, mountOverlay(r, dir)
}

func bindReadOnly(src, dir string) error {
	if err := unix.Mount(src, dir, "", unix.MS_BIND, ""); err != nil {
		return errs.Wrap(err, "mount", src)
	}
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		return errs.Wrap(err, "mount read-only", src)
	}
	return nil
}

// mountOverlay mounts r at dir in this mount namespace.
func mountOverlay(r spec.Rootfs, dir string) error {
	var lowers []string
	for _, l := range r.Lowers {
		if !filepath.IsAbs(l) {
			l = filepath.Join(r.Home, l)
		}
		lowers = append(lowers, l)
	}
	opts := []string{"lowerdir=" + strings.Join(lowers, ":")}
	if r.Upper != "" {
		opts = append(opts, "upperdir="+r.Upper, "workdir="+r.Work)
	}
	if r.Driver == "fuse-overlayfs" {
		out, err := exec.Command(r.Program, "-o", strings.Join(opts, ","), dir).CombinedOutput()
		if err != nil {
			return errs.New(errs.Internal, "fuse-overlayfs: %v: %s", err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	if rootless() {
		opts = append(opts, "userxattr")
	}
	text := strings.Join(opts, ",")
	var err error
	if len(text) < os.Getpagesize() {
		err = unix.Mount("overlay", dir, "overlay", 0, text)
	} else {
		// mount(2) takes one page of options; this call takes one at a time.
		err = mountLong(lowers, r, dir)
	}
	return errs.Wrap(err, "mount the layers at", dir)
}

func mountLong(lowers []string, r spec.Rootfs, dir string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	for _, l := range lowers {
		if err := unix.FsconfigSetString(fs, "lowerdir+", l); err != nil {
			return fmt.Errorf("so many layers need Linux 6.5: %w", err)
		}
	}
	if r.Upper != "" {
		err = errors.Join(unix.FsconfigSetString(fs, "upperdir", r.Upper), unix.FsconfigSetString(fs, "workdir", r.Work))
	}
	if rootless() {
		err = errors.Join(err, unix.FsconfigSetFlag(fs, "userxattr"))
	}
	if err != nil {
		return err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(m)
	return unix.MoveMount(m, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func unmount(dir, driver string) error {
	if driver == "fuse-overlayfs" {
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

// MountsBelow are the mount points at dir and in it, of this mount namespace.
func MountsBelow(dir string) ([]string, error) {
	list, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != dir && !strings.HasPrefix(m.Mountpoint, dir+"/"), false
	})
	var out []string
	for _, m := range list {
		out = append(out, m.Mountpoint)
	}
	return out, errs.Wrap(err, "read", "/proc/self/mountinfo")
}
