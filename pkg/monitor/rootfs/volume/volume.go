// SPDX-License-Identifier: Apache-2.0

// Package volume prepares volumes before a container starts: it fills an empty
// one with what the image has at its place, hands it over to another user (:U),
// and shows one directory of it (subpath).
//
// Other containers may have the volume mounted meanwhile and change any path in
// it at any moment. No step therefore uses a path of several parts below the
// volume's root: each name is looked up in an open directory, and no link is
// followed.
package volume

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
)

// Prepare makes the volumes ready for a container whose root file system is
// root and whose process runs with uid and gid.
func Prepare(root *os.File, volumes []monitor.VolumeMount, uid, gid int) error {
	for _, v := range volumes {
		if v.Dir != "" {
			if err := fill(root, v); err != nil {
				return errs.Wrap(err, "fill the volume at", v.Target)
			}
		}
		if v.Chown {
			if err := chownTree(v.HostPath, uid, gid); err != nil {
				return errs.Wrap(err, "change the owner of the volume at", v.Target)
			}
		}
	}
	return nil
}

// dirFlags open a directory, never through a link.
const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

func openat(dir int, name string, flags int, mode uint32) (*os.File, error) {
	fd, err := unix.Openat(dir, name, flags, mode)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
