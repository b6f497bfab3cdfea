// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"errors"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// The marks of a layer speak of the layers below it, never of its own files: a file
// and a whiteout of the same name may stand in the archive in either order, and the
// file is there afterwards. (The OCI image specification says so.)

// opaque hides everything that lower layers have in a directory.
func (u *unpacker) opaque(name string) error {
	fd, err := u.parent(name)
	// Some tools hide a directory, and then what was in it.
	if mark, err := u.markAbove(name, err); mark != "" || err != nil {
		return err
	}
	attr := "trusted.overlay.opaque"
	if u.o.UserXattr {
		attr = "user.overlay.opaque"
	}
	return unix.Setxattr("/proc/self/fd/"+strconv.Itoa(fd), attr, []byte("y"), 0)
}

// whiteout hides one name of lower layers: overlay's mark is a 0/0 device,
// which an unprivileged user may make.
func (u *unpacker) whiteout(dirName, base string) error {
	if base == "" || base == "." || base == ".." {
		return errs.New(errs.Invalid, "whiteout of %q", base)
	}
	dir, err := u.parent(dirName)
	if mark, err := u.markAbove(dirName, err); mark != "" || err != nil {
		return err
	}
	err = unix.Mknodat(dir, base, unix.S_IFCHR, 0)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return u.opaque(path.Join(dirName, base))
	}
	return nil // a file of this layer, which hides the lower ones already
}

// markAbove finds the whiteout that keeps parent from opening the directory name: that
// name itself, or one above it. err is what parent said.
func (u *unpacker) markAbove(name string, err error) (mark string, _ error) {
	if !errors.Is(err, unix.ENOTDIR) {
		return "", err
	}
	for ; name != "."; name = path.Dir(name) {
		dir, derr := u.openDir(path.Dir(name))
		if errors.Is(derr, unix.ENOTDIR) {
			continue
		}
		if derr != nil {
			return "", derr
		}
		is := isWhiteout(dir, path.Base(name))
		unix.Close(dir)
		if is {
			return name, nil
		}
		break
	}
	return "", err
}

// remake puts a directory in the place of a whiteout: the layer removes one and makes it
// anew, and lists only what is in it. It returns what parent returns for name.
func (u *unpacker) remake(mark, name string) (int, error) {
	dir, err := u.parent(path.Dir(mark))
	if err != nil {
		return -1, err
	}
	if err := unix.Unlinkat(dir, path.Base(mark), 0); err != nil {
		return -1, err
	}
	if err := u.opaque(mark); err != nil { // which makes it
		return -1, err
	}
	return u.parent(name)
}
