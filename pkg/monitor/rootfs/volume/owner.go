// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"os"

	"golang.org/x/sys/unix"
)

// chownTree changes the owner of path and everything below, unless path has that
// owner already: as with podman, the owners of single files are the user's business
// from then on, and a start does not read a large volume again. The directory itself
// comes last: a change that was interrupted is made again.
func chownTree(path string, uid, gid int) error {
	dir, err := openat(unix.AT_FDCWD, path, dirFlags, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return err
	}
	if int(st.Uid) == uid && int(st.Gid) == gid {
		return nil
	}
	return chownDir(dir, uid, gid)
}

func chownDir(dir *os.File, uid, gid int) error {
	d := int(dir.Fd())
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(d, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if err := unix.Fchownat(d, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
			continue
		}
		sub, err := openat(d, name, dirFlags, 0)
		if err != nil {
			return err
		}
		err = chownDir(sub, uid, gid)
		sub.Close()
		if err != nil {
			return err
		}
	}
	return unix.Fchown(d, uid, gid)
}
