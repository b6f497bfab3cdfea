// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"os"

	"golang.org/x/sys/unix"
)

// chownTree changes the owner of everything below path.
func chownTree(path string, uid, gid int) error {
	dir, err := openat(unix.AT_FDCWD, path, dirFlags, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return chownDir(dir, uid, gid)
}

func chownDir(dir *os.File, uid, gid int) error {
	d := int(dir.Fd())
	if err := unix.Fchown(d, uid, gid); err != nil {
		return err
	}
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
	return nil
}
