// SPDX-License-Identifier: Apache-2.0

// Package treesize adds up the files of directories that a container fills, also while
// it does.
package treesize

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

type inode struct{ dev, ino uint64 }

// Of returns the bytes of the regular files below root, each inode counted once. What
// cannot be read counts nothing.
//
// Every directory is opened from root without following a link: a container that puts one
// in the place of a directory meanwhile leads nowhere.
func Of(root string) (size int64) {
	top, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(top)
	seen := map[inode]bool{}
	// A list and no recursion: a descriptor per level could use up all there are.
	for dirs := []string{"."}; len(dirs) > 0; {
		dir := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		f, err := openBelow(top, dir)
		if err != nil {
			continue
		}
		names, _ := f.Readdirnames(-1)
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue
			}
			switch st.Mode & unix.S_IFMT {
			case unix.S_IFDIR:
				dirs = append(dirs, path.Join(dir, name))
			case unix.S_IFREG:
				key := inode{st.Dev, st.Ino}
				if st.Nlink > 1 && seen[key] {
					continue
				} else if st.Nlink > 1 {
					seen[key] = true
				}
				size += st.Size
			}
		}
		f.Close()
	}
	return size
}

func openBelow(top int, dir string) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	for {
		fd, err := unix.Openat2(top, dir, &how)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		return os.NewFile(uintptr(fd), dir), nil
	}
}
