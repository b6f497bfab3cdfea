// SPDX-License-Identifier: Apache-2.0

// Package inroot looks into a container's root file system: who a user is, where a
// path lies, why a program cannot be run.
//
// Whatever lies in an image or was written by a container is hostile: a
// symbolic link in it must not lead this process, which is root in its
// namespace, out of the container's root. Every look-up here resolves links
// inside the root.
package inroot

import (
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// openIn opens name in the root for reading; it must be a regular file.
func openIn(root *os.File, name string) (*os.File, error) {
	h, err := pathrs.OpenatInRoot(root, name)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errs.New(errs.Invalid, "%s is not a regular file", name)
	}
	return pathrs.Reopen(h, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY)
}

// OpenRoot opens a directory as the root of look-ups.
func OpenRoot(p string) (*os.File, error) {
	return os.OpenFile(p, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// readerIn reads a file's content. A missing file counts as empty: many images have no
// passwd.
func readerIn(root *os.File, name string) io.ReadCloser {
	f, err := openIn(root, name)
	if err != nil {
		return io.NopCloser(strings.NewReader(""))
	}
	return f
}

// Finder looks a path up as the container will see it: in the root, or in what
// is mounted over a part of it.
type Finder struct {
	Root   *os.File
	Mounts map[string]Place // by directory of the container
}

// Place is what is mounted: the file Dir or, links resolved below it, a part of
// it. Without Dir it hides what the root has.
type Place struct {
	Dir, Sub string
	NoExec   bool // mounted so that no program on it can be run
}

// File is what a path leads to.
type File struct {
	Mode     os.FileMode
	UID, GID uint32
	NoExec   bool
}

// Stat looks at an absolute container path.
func (f Finder) Stat(p string) (File, error) {
	h, noexec, err := f.open(p)
	if err != nil {
		return File{}, err
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return File{}, err
	}
	file := File{Mode: st.Mode(), NoExec: noexec}
	if x, ok := st.Sys().(*syscall.Stat_t); ok {
		file.UID, file.GID = x.Uid, x.Gid
	}
	var fs unix.Statfs_t
	if unix.Fstatfs(int(h.Fd()), &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0 {
		file.NoExec = true
	}
	return file, nil
}

// open opens an absolute container path, for looking at it only (O_PATH).
func (f Finder) open(p string) (h *os.File, noexec bool, err error) {
	p = path.Clean("/" + p)
	for dir := p; ; dir = path.Dir(dir) {
		if src, ok := f.Mounts[dir]; ok {
			h, err = src.open(strings.TrimPrefix(p, dir))
			return h, src.NoExec, err
		}
		if dir == "/" {
			break
		}
	}
	h, err = pathrs.OpenatInRoot(f.Root, p)
	return h, false, err
}

// unseen says that p lies in a file system which is not there yet: a tmpfs.
func (f Finder) unseen(p string) bool {
	p = path.Clean("/" + p)
	for dir := p; ; dir = path.Dir(dir) {
		if src, ok := f.Mounts[dir]; ok || dir == "/" {
			return ok && src.Dir == ""
		}
	}
}

func (p Place) open(rest string) (*os.File, error) {
	rest = path.Join(p.Sub, rest)
	if p.Dir == "" {
		return nil, os.ErrNotExist
	}
	if rest == "" {
		return os.OpenFile(p.Dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	return pathrs.OpenInRoot(p.Dir, rest)
}

// EnsureDir creates a missing working directory, owned by root as Docker does
// it. Directories that a mount brings are none of its business.
func EnsureDir(f Finder, dir string) error {
	if dir == "" || dir == "/" {
		return nil
	}
	file, err := f.Stat(dir)
	switch {
	case err == nil && file.Mode.IsDir():
		return nil
	case err == nil, errors.Is(err, unix.ENOTDIR):
		return errs.New(errs.Invalid, "Cannot mkdir: %s is not a directory", dir)
	case !errors.Is(err, os.ErrNotExist):
		return errs.Wrap(err, "look at the working directory", dir)
	}
	for d := path.Clean(dir); d != "/"; d = path.Dir(d) {
		if _, ok := f.Mounts[d]; ok {
			return nil // libcontainer's business once the mount is there
		}
	}
	h, err := pathrs.MkdirAllHandle(f.Root, path.Clean(dir), 0o755)
	if err != nil {
		return errs.Wrap(err, "create the working directory", dir)
	}
	return h.Close()
}
