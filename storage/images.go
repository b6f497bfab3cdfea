// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/storage/drivers/copy"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/registry"
)

// Resolve finds an image in the store: by name (docker.io, library/ and :latest
// implied), name@digest, short name, id or unique prefix of an id. Kind
// NotFound: there is none.
func (s *Store) Resolve(name string) (*Image, error) {
	// A second look covers an image that was replaced between the two reads.
	for try := 0; ; try++ {
		names, ix, err := s.readNames()
		if err != nil {
			return nil, err
		}
		id, err := find(names, name)
		if err != nil {
			return nil, err
		}
		img, err := s.readImage(id, ix)
		if err == nil {
			return img, nil
		}
		if !notExist(err) {
			return nil, err
		}
		if try == 1 {
			return nil, noSuchImage(name)
		}
		if _, err := s.refresh(false); err != nil {
			return nil, err
		}
	}
}

// find looks for whole ids, then names, then the start of an id, as Docker does.
func find(names []byte, name string) (string, error) {
	hex, idLike := imagename.IsID(name)
	if idLike && len(hex) == 64 {
		if id, _ := lookupID(names, hex); id != "" {
			return id, nil
		}
	}
	named, err := imagename.Parse(name)
	if err == nil {
		if id, ok := findNamed(names, name, named); ok {
			return id, nil
		}
	} else if !idLike {
		return "", err
	}
	if idLike {
		id, many := lookupID(names, hex)
		if many {
			return "", errs.New(errs.Invalid, "image id prefix %q is ambiguous: several images begin with it", name)
		}
		if id != "" {
			return id, nil
		}
	}
	return "", noSuchImage(name)
}

func findNamed(names []byte, name string, named reference.Named) (string, bool) {
	kind := "n"
	if _, ok := named.(reference.Digested); ok {
		kind = "d"
	}
	if id, ok := lookup(names, kind, named.String()); ok {
		return id, true
	}
	if !imagename.IsShort(name) {
		return "", false
	}
	if local, err := imagename.Parse("localhost/" + name); err == nil {
		if id, ok := lookup(names, kind, local.String()); ok {
			return id, true
		}
	}
	// Only now registries.conf: it is several files to read and parse.
	candidates, err := registry.Candidates(nil, name)
	if err != nil {
		return "", false
	}
	for _, c := range candidates {
		if id, ok := lookup(names, kind, c.String()); ok {
			return id, true
		}
	}
	return "", false
}

func noSuchImage(name string) error {
	if !strings.Contains(name, "@") && !strings.HasPrefix(name, "sha256:") {
		if n, err := imagename.Parse(name); err == nil {
			name = reference.FamiliarString(n)
		}
	}
	return errs.New(errs.NotFound, "No such image: %s", name)
}

// List returns all images, the newest first. The slice is the caller's.
func (s *Store) List() ([]Summary, error) { return s.readList() }

// RawConfig is the image's configuration as its author made it: JSON.
func (s *Store) RawConfig(img *Image) ([]byte, error) { return s.bigData(img.ID, "sha256:"+img.ID) }

// RawManifest is the image's manifest as it was pulled or made: JSON.
func (s *Store) RawManifest(img *Image) ([]byte, error) { return s.bigData(img.ID, "manifest") }

// LayerDirs are the directories of the image's layers on the host, topmost
// first. They are for reading only.
func (s *Store) LayerDirs(img *Image) []string {
	var out []string
	for _, l := range img.Layers {
		if s.driver() == "vfs" {
			out = append(out, filepath.Join(s.root, "vfs", "dir", l))
			continue
		}
		out = append(out, filepath.Join(s.home(), l, "diff"))
	}
	return out
}

// Rootfs makes the directories of a writable layer over the image's layers,
// upper and work, inside containerDir, and says how to mount it. Where the
// store has no overlay (vfs) it copies the image, which is only possible inside
// the user's namespace.
func (s *Store) Rootfs(img *Image, containerDir string) (spec.Rootfs, error) {
	if img.List {
		return spec.Rootfs{}, errs.New(errs.Invalid, "%s is a list of images for several platforms, not an image", img.ID[:12])
	}
	if s.driver() == "vfs" {
		return s.copyRootfs(img, containerDir)
	}
	return s.rootfs(img.Lowers, img.RootMode, containerDir)
}

func (s *Store) rootfs(lowers []string, mode uint32, containerDir string) (spec.Rootfs, error) {
	r := spec.Rootfs{
		Driver: "overlay", Home: s.home(), Lowers: lowers,
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
	flag, err := os.ReadFile(filepath.Join(s.home(), ".has-mount-program"))
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
