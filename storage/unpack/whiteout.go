// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// opaque hides everything that lower layers have in a directory.
func (u *unpacker) opaque(name string) error {
	fd, err := u.parent(name)
	if err != nil {
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
	if err != nil {
		return err
	}
	if _, err := u.clear(dir, base, false); err != nil {
		return err
	}
	return unix.Mknodat(dir, base, unix.S_IFCHR, 0)
}
