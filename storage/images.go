// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"go.podman.io/storage/drivers/copy"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// Rootfs makes the directories of a writable layer over the image's layers,
// upper and work, inside containerDir, and says how to mount it. Where the
// store has no overlay (vfs) it copies the image, which is only possible inside
// the user's namespace.
func (s *Store) Rootfs(img *Image, containerDir string) (spec.Rootfs, error) {
	if img.List {
		return spec.Rootfs{}, errs.New(errs.Invalid, "%s is a list of images for several platforms, not an image", img.ID[:12])
	}
	if s.Driver() == "vfs" {
		return s.copyRootfs(img, containerDir)
	}
	return s.rootfs(img.Lowers, img.RootMode, containerDir)
}

func (s *Store) rootfs(lowers []string, mode uint32, containerDir string) (spec.Rootfs, error) {
	r := spec.Rootfs{
		Driver: "overlay", Home: s.Home(), Lowers: lowers,
		Upper: filepath.Join(containerDir, "upper"), Work: filepath.Join(containerDir, "work"),
	}
	if p, err := s.fuseProgram(); err != nil {
		return r, err
	} else if p != "" {
		r.Driver, r.Program = "fuse-overlayfs", p
	}
	// The upper directory's own mode becomes that of / in the container.
	if mode == 0 {
		mode = 0o755
	}
	if err := mkdirMode(r.Upper, os.FileMode(mode)); err != nil {
		return r, err
	}
	return r, mkdirMode(r.Work, 0o700)
}

// fuseProgram is the path of fuse-overlayfs where the store was made with it,
// else "".
func (s *Store) fuseProgram() (string, error) {
	flag, err := os.ReadFile(filepath.Join(s.Home(), ".has-mount-program"))
	if err != nil || string(flag) != "true" {
		return "", nil
	}
	p, err := exec.LookPath("fuse-overlayfs")
	if err != nil {
		return "", errs.WithHint(errs.New(errs.Unsupported, "this kernel cannot mount an overlay for an unprivileged user, and fuse-overlayfs is missing"),
			"install the package fuse-overlayfs")
	}
	return p, nil
}

// mkdirMode makes a directory with exactly this mode, whatever the umask.
func mkdirMode(path string, mode os.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil && !os.IsExist(err) {
		return fmt.Errorf("cannot create the container's writable layer: %w", err)
	}
	return os.Chmod(path, mode)
}

func (s *Store) copyRootfs(img *Image, containerDir string) (spec.Rootfs, error) {
	dst := filepath.Join(containerDir, "rootfs")
	r := spec.Rootfs{Driver: "vfs", Dir: dst}
	if img.TopLayer == "" {
		return r, mkdirMode(dst, 0o755)
	}
	src := filepath.Join(s.root, "vfs", "dir", img.TopLayer)
	if err := mkdirMode(dst, os.FileMode(img.RootMode|0o700)); err != nil {
		return r, err
	}
	if err := copy.DirCopy(src, dst, copy.Content, true); err != nil {
		return r, errs.Wrap(err, "copy image", img.ID[:12])
	}
	return r, nil
}
