// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/overlay"
	"github.com/proa-containers/proa/pkg/sparse"
)

// treeCopy copies a tree, one directory descriptor at a time, to a place that
// no container sees.
type treeCopy struct {
	base int // where the copy begins
	// The first name of files with several, below base. Such a path is safe
	// only because nobody else can change the copy.
	links map[[2]uint64]string // by device and inode
	data  sparse.Copier
}

func (c *treeCopy) entries(src, dst *os.File, names []string, rel string) error {
	for _, name := range names {
		if err := c.entry(src, dst, name, rel+name); err != nil {
			return &os.PathError{Op: "copy", Path: rel + name, Err: err}
		}
	}
	return nil
}

func (c *treeCopy) entry(src, dst *os.File, name, rel string) error {
	s, d := int(src.Fd()), int(dst.Fd())
	var st unix.Stat_t
	if err := unix.Fstatat(s, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR && st.Nlink > 1 {
		key := [2]uint64{st.Dev, st.Ino}
		if first, ok := c.links[key]; ok {
			return unix.Linkat(c.base, first, d, name, 0)
		}
		c.links[key] = rel
	}
	switch kind {
	case unix.S_IFDIR:
		return c.subdir(s, d, name, rel, &st)
	case unix.S_IFREG:
		return c.file(s, d, name, &st)
	case unix.S_IFLNK:
		return copyLink(s, d, name, &st)
	case unix.S_IFIFO:
		if err := unix.Mknodat(d, name, unix.S_IFIFO|st.Mode&0o7777, 0); err != nil {
			return err
		}
		return unix.Fchownat(d, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
	}
	delete(c.links, [2]uint64{st.Dev, st.Ino})
	return nil // devices and sockets: nobody misses them in a volume
}

func (c *treeCopy) subdir(s, d int, name, rel string, st *unix.Stat_t) error {
	if err := unix.Mkdirat(d, name, 0o700); err != nil {
		return err
	}
	from, err := openat(s, name, dirFlags, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := openat(d, name, dirFlags, 0)
	if err != nil {
		return err
	}
	defer to.Close()
	names, err := from.Readdirnames(-1)
	if err != nil {
		return err
	}
	if err := c.entries(from, to, names, rel+"/"); err != nil {
		return err
	}
	return setMeta(int(from.Fd()), int(to.Fd()), st)
}

func (c *treeCopy) file(s, d int, name string, st *unix.Stat_t) error {
	from, err := openat(s, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := openat(d, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := c.data.Content(int(to.Fd()), int(from.Fd()), st); err != nil {
		return err
	}
	return setMeta(int(from.Fd()), int(to.Fd()), st)
}

func copyLink(s, d int, name string, st *unix.Stat_t) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(s, name, buf)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(buf[:n]), d, name); err != nil {
		return err
	}
	return unix.Fchownat(d, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
}

// setMeta gives to the owner, extended attributes, mode and times of from, in
// the order in which one does not undo the other.
func setMeta(from, to int, st *unix.Stat_t) error {
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := copyXattrs(from, to); err != nil {
		return err
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	tv := []unix.Timeval{{Sec: st.Atim.Sec, Usec: st.Atim.Nsec / 1000}, {Sec: st.Mtim.Sec, Usec: st.Mtim.Nsec / 1000}}
	return unix.Futimes(to, tv)
}

func copyXattrs(from, to int) error {
	buf := make([]byte, 4096)
	n, err := unix.Flistxattr(from, buf)
	if err != nil {
		return nil // none, or a file system without them
	}
	for _, name := range strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if name == "" || overlay.IsNote(name) || strings.HasPrefix(name, "trusted.") {
			continue
		}
		val := make([]byte, 64<<10)
		k, err := unix.Fgetxattr(from, name, val)
		if err != nil {
			continue
		}
		if err := unix.Fsetxattr(to, name, val[:k], 0); err != nil &&
			!errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return nil
}
