// SPDX-License-Identifier: Apache-2.0

// Package files reads and writes below directories in which an image, an
// archive or a build context may have planted traps: links that lead out, names
// with "..", devices, bombs. Nothing that it does leaves the root it was given.
package files

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/subid"
)

// Root is a directory that names are looked up in as if it were "/": no
// symbolic link, absolute or with "..", leads out of it. Every path of a build
// context, an image or an archive goes through one, which is what keeps
// CVE-2024-1753 and its relatives out (openat2(2), RESOLVE_IN_ROOT).
type Root struct{ fd int }

// OpenRoot opens a directory of the host, whose own path is followed as it is.
// The caller closes it.
func OpenRoot(dir string) (*Root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Root{fd: fd}, nil
}

// below makes a directory of the root a root of its own, which the caller closes.
func (r *Root) below(dir string, made NewDirs) (*Root, error) {
	fd, err := r.MkdirAll(dir, made)
	if err != nil {
		return nil, err
	}
	return &Root{fd: fd}, nil
}

// Close ends the look-ups below the root.
func (r *Root) Close() error { return unix.Close(r.fd) }

// Open opens name below the root.
func (r *Root) Open(name string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(r.fd, inRoot(name), &how)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			// EAGAIN: a rename raced with the look-up of "..".
			continue
		}
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
}

func inRoot(name string) string {
	if rel := strings.TrimLeft(name, "/"); rel != "" {
		return rel
	}
	return "."
}

// Stat follows symbolic links inside the root.
func (r *Root) Stat(name string) (unix.Stat_t, error) { return r.statFlags(name, unix.O_PATH) }

// Lstat does not follow the last component.
func (r *Root) Lstat(name string) (unix.Stat_t, error) {
	return r.statFlags(name, unix.O_PATH|unix.O_NOFOLLOW)
}

func (r *Root) statFlags(name string, flags int) (unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := r.Open(name, flags)
	if err != nil {
		return st, err
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return st, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return st, nil
}

// ResolveDir is the real path of a directory below the root.
func (r *Root) ResolveDir(name string) (string, error) {
	fd, err := r.Open(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return fdPath(fd)
}

// ResolveLink is the path of a link's target below the root.
func (r *Root) ResolveLink(p string) (string, error) {
	fd, err := r.Open(p, unix.O_PATH)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return r.pathOf(fd)
}

// IsArchive says whether p is a regular file that ADD unpacks.
func (r *Root) IsArchive(p string) bool {
	fd, err := r.Open(p, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), p)
	defer f.Close()
	fi, err := f.Stat()
	return err == nil && fi.Mode().IsRegular() && IsTar(f)
}

// IsDir says whether p is a directory, or a link to one inside the root.
func (r *Root) IsDir(p string) bool {
	st, err := r.Stat(p)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// fdPath is where a descriptor leads. It names what was opened, whatever
// happened to the path since; openers use it at once.
func fdPath(fd int) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// NewDirs holds the attributes of new directories.
type NewDirs struct {
	Mode  uint32
	Owner Owner
	made  func(path string) // called for each new one; may be nil
}

// MkdirAll makes name and its parents inside the root. Links are followed; where one
// leads nowhere, what it names is made, inside the root as well. It returns a descriptor
// of the directory (O_PATH), which the caller closes.
func (r *Root) MkdirAll(name string, made NewDirs) (int, error) {
	return r.mkdirAll(name, made, 0)
}

// maxLinks is how many links one name may lead through, as for the kernel.
const maxLinks = 40

func (r *Root) mkdirAll(name string, made NewDirs, links int) (int, error) {
	if fd, err := r.Open(name, unix.O_PATH|unix.O_DIRECTORY); err == nil {
		return fd, nil
	}
	clean := path.Clean("/" + name)
	if clean == "/" {
		return -1, &os.PathError{Op: "open", Path: name, Err: unix.ENOTDIR}
	}
	parent, err := r.mkdirAll(path.Dir(clean), made, links)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	base := path.Base(clean)
	switch err := unix.Mkdirat(parent, base, made.Mode&0o777); {
	case err == nil:
		if err := setOwnerMode(parent, base, made.Owner, made.Mode); err != nil {
			return -1, err
		}
		if made.made != nil {
			made.made(clean)
		}
	case !errors.Is(err, unix.EEXIST):
		return -1, &os.PathError{Op: "mkdir", Path: clean, Err: err}
	case links < maxLinks:
		if target, err := r.target(parent, base); err == nil {
			return r.mkdirAll(target, made, links+1)
		}
	}
	fd, err := r.Open(clean, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, errs.New(errs.Invalid, "cannot make directory %s: something that is not a directory is in the way", clean)
	}
	return fd, nil
}

// target is what a link names, as a path of the root. Like any path it is looked up
// inside the root.
func (r *Root) target(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	to := string(buf[:n])
	if path.IsAbs(to) {
		return to, nil
	}
	real, err := r.pathOf(dir)
	return path.Join("/", real, to), err
}

// Follow is where a file is made that is written by this name: where the name is that of
// a link, what the link names, as for open(2).
func (r *Root) Follow(name string) (string, error) {
	for range maxLinks {
		dir, base := SplitDest(name)
		fd, err := r.Open(dir, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return name, nil // there is no such directory yet
		}
		target, err := r.target(fd, base)
		unix.Close(fd)
		if err != nil {
			return name, nil // no link
		}
		name = target
	}
	return "", &os.PathError{Op: "open", Path: name, Err: unix.ELOOP}
}

// pathOf is where an open file lies below the root.
func (r *Root) pathOf(fd int) (string, error) {
	full, err := fdPath(fd)
	if err != nil {
		return "", err
	}
	base, err := fdPath(r.fd)
	return strings.Trim(rel(base, full), "/"), err
}

// Owner is the numeric owner of a file to be made.
type Owner struct{ UID, GID int }

func setOwnerMode(dirfd int, name string, own Owner, mode uint32) error {
	if err := unix.Fchownat(dirfd, name, own.UID, own.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "chown", Path: name, Err: chownHint(err)}
	}
	// After the chown, which clears the set-id bits; never follows a link, as
	// the callers made the entry themselves.
	if err := unix.Fchmodat(dirfd, name, mode&0o7777, 0); err != nil {
		return &os.PathError{Op: "chmod", Path: name, Err: err}
	}
	return nil
}

// chownHint explains the refusal that a map without subordinate ids gives.
func chownHint(err error) error {
	if errors.Is(err, unix.EINVAL) {
		return errs.WithHint(errs.New(errs.Denied, "this id is not mapped into the user's namespace"),
			"%s", subid.Hint())
	}
	return err
}

// SplitDest separates a destination into its parent directory and last name.
func SplitDest(p string) (dir, base string) {
	clean := path.Clean("/" + p)
	return path.Dir(clean), path.Base(clean)
}

// rel is p below dir, slash-separated.
func rel(dir, p string) string {
	r, err := filepath.Rel(dir, p)
	if err != nil {
		return p
	}
	return filepath.ToSlash(r)
}
