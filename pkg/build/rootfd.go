// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// root is a directory that names are looked up in as if it were "/": no
// symbolic link, absolute or with "..", leads out of it. Every path of a build
// context, an image or an archive goes through one, which is what keeps
// CVE-2024-1753 and its relatives out (openat2(2), RESOLVE_IN_ROOT).
type root struct {
	fd   int
	path string
}

func openRoot(dir string) (*root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return &root{fd: fd, path: dir}, nil
}

func (r *root) Close() error { return unix.Close(r.fd) }

// open opens name below the root.
func (r *root) open(name string, flags int) (int, error) {
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

// stat follows symbolic links inside the root.
func (r *root) stat(name string) (unix.Stat_t, error) { return r.statFlags(name, unix.O_PATH) }

// lstat does not follow the last component.
func (r *root) lstat(name string) (unix.Stat_t, error) {
	return r.statFlags(name, unix.O_PATH|unix.O_NOFOLLOW)
}

func (r *root) statFlags(name string, flags int) (unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := r.open(name, flags)
	if err != nil {
		return st, err
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return st, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return st, nil
}

// resolveDir is the real path of a directory below the root.
func (r *root) resolveDir(name string) (string, error) {
	fd, err := r.open(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return fdPath(fd)
}

// fdPath is where a descriptor leads. It names what was opened, whatever
// happened to the path since; openers use it at once.
func fdPath(fd int) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// mkdirAll makes name and its parents inside the root, following links that
// exist. New directories get mode and own. It returns a descriptor of the
// directory (O_PATH), which the caller closes.
func (r *root) mkdirAll(name string, mode uint32, own owner) (int, error) {
	if fd, err := r.open(name, unix.O_PATH|unix.O_DIRECTORY); err == nil {
		return fd, nil
	}
	clean := path.Clean("/" + name)
	if clean == "/" {
		return -1, &os.PathError{Op: "open", Path: name, Err: unix.ENOTDIR}
	}
	parent, err := r.mkdirAll(path.Dir(clean), mode, own)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	base := path.Base(clean)
	if err := unix.Mkdirat(parent, base, mode); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, &os.PathError{Op: "mkdir", Path: clean, Err: err}
	} else if err == nil {
		if err := setOwnerMode(parent, base, own, mode); err != nil {
			return -1, err
		}
	}
	// A dangling link at this place resolves to nothing and is refused here:
	// making its target would be a surprise.
	fd, err := r.open(clean, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, errs.New(errs.Invalid, "cannot make directory %s: something that is not a directory is in the way", clean)
	}
	return fd, nil
}

// owner is the numeric owner of a file to be made.
type owner struct{ uid, gid int }

func setOwnerMode(dirfd int, name string, own owner, mode uint32) error {
	if err := unix.Fchownat(dirfd, name, own.uid, own.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
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
			"give the user subordinate ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER")
	}
	return err
}

// splitDest separates a destination into its parent directory and last name.
func splitDest(p string) (dir, base string) {
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
