// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Sync makes a directory equal to another, touching only what differs. Both are
// views of layers: a file is unchanged where both show the very same one.
func Sync(to, from string) error {
	src, err := OpenRoot(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := OpenRoot(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	want, have := &Walker{Root: src}, &Walker{Root: dst}
	if err := errors.Join(want.Add("", ""), have.Add("", "")); err != nil {
		return err
	}
	old := make(map[string]*Entry, len(have.Entries))
	for i := range have.Entries {
		old[have.Entries[i].Path] = &have.Entries[i]
	}
	changed := &Walker{Root: src}
	for _, e := range want.Entries {
		o := old[e.Path]
		if o == nil || !sameFile(o, &e) {
			changed.Entries = append(changed.Entries, e)
		}
		if o != nil && o.Stat.Mode&unix.S_IFMT == e.Stat.Mode&unix.S_IFMT {
			delete(old, e.Path)
		}
	}
	for p := range old {
		// No link is followed: the parents were walked as directories.
		if err := os.RemoveAll(filepath.Join(to, p)); err != nil {
			return err
		}
	}
	c := NewCopier(dst)
	defer c.Close()
	return c.CopyAll(changed, "/")
}

// sameFile says whether both views of two layer chains show the very same
// inode, unchanged: overlay shows the numbers and times of the layer's file.
func sameFile(a, b *Entry) bool {
	x, y := &a.Stat, &b.Stat
	if x.Mode != y.Mode || x.Uid != y.Uid || x.Gid != y.Gid || x.Mtim != y.Mtim || x.Rdev != y.Rdev || a.Link != b.Link {
		return false
	}
	switch x.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return x.Size == y.Size && x.Ino == y.Ino && x.Ctim == y.Ctim
	case unix.S_IFDIR:
		return x.Ctim == y.Ctim // else its extended attributes may have changed
	}
	return true
}
