// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/overlay"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/storage/rootmount"
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
	return s.mountTemporary(func(dir string) (string, error) { return r.Driver, rootmount.View(r, dir, writable) })
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
			err = rootmount.Unmount(base, driver)
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
	if r.Driver == overlay.FuseDriver {
		return errs.WithHint(errs.New(errs.Unsupported,
			"fuse-overlayfs serves the files of this container, and would stay when the shell has ended"),
			"proa export CONTAINER | tar -x -C DIRECTORY")
	}
	return rootmount.View(r, dir, false)
}

// needKernel refuses mounts that a process serves: it would outlive the mount
// namespace, which it keeps alive.
func (s *Store) needKernel() error {
	if p, err := s.fuseProgram(); err != nil || p == "" {
		return err
	}
	return errs.New(errs.Unsupported, "the kernel cannot mount the layers for an unprivileged user, and fuse-overlayfs would stay when the shell has ended")
}

func (s *Store) mountReadOnly(top Layer, dir string) (spec.Rootfs, error) {
	r := spec.Rootfs{Driver: "overlay", Home: s.Home(), ReadOnly: true}
	if s.Driver() == "vfs" && top.ID != "" {
		return r, rootmount.BindReadOnly(filepath.Join(s.root, "vfs", "dir", top.ID), dir)
	}
	if top.ID == "" {
		return r, rootmount.Empty(dir)
	}
	var ok bool
	if r.Lowers, _, ok = s.Lowers(top.ID); !ok {
		return r, errs.New(errs.NotFound, "layer %s is not in the store", top.ID)
	}
	if len(r.Lowers) > 1 {
		if p, err := s.fuseProgram(); err != nil {
			return r, err
		} else if p != "" {
			r.Driver, r.Program = "fuse-overlayfs", p
		}
	}
	return r, rootmount.View(r, dir, false)
}
