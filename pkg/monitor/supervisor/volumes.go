// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
	"github.com/proa-containers/proa/pkg/monitor"
)

// fillVolumes copies what the image has at a volume's place into a volume that
// is still empty, as Docker does, and hands volumes over to the process's user
// where that was asked for (:U).
func fillVolumes(root *os.File, volumes []monitor.VolumeMount, id identity) error {
	for _, v := range volumes {
		if v.CopyUp {
			if err := copyUp(root, v); err != nil {
				return errs.Wrap(err, "fill the volume at", v.Target)
			}
		}
		if v.Chown {
			if err := chownTree(v.HostPath, id.uid, id.gid); err != nil {
				return errs.Wrap(err, "change the owner of the volume at", v.Target)
			}
		}
	}
	return nil
}

func copyUp(root *os.File, v monitor.VolumeMount) error {
	src, err := openDirIn(root, v.Target)
	if err != nil || src == nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(v.HostPath, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer dst.Close()
	// Two containers may start on the same new volume at once.
	if err := filelock.Flock(dst, unix.LOCK_EX); err != nil {
		return err
	}
	if _, err := dst.Readdirnames(1); !errors.Is(err, io.EOF) {
		return err // not empty (nil), or unreadable
	}
	c := treeCopy{links: map[[2]uint64]string{}, base: int(dst.Fd())}
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return err
	}
	if err := c.dir(src, dst, ""); err != nil {
		return err
	}
	return setMeta(int(src.Fd()), int(dst.Fd()), &st)
}

// openDirIn opens a directory of the image; nil where there is none.
func openDirIn(root *os.File, name string) (*os.File, error) {
	h, err := pathrs.OpenatInRoot(root, name)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer h.Close()
	if st, err := h.Stat(); err != nil || !st.IsDir() {
		return nil, err
	}
	return pathrs.Reopen(h, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
}

// treeCopy copies a tree, one directory descriptor at a time and never through
// a symbolic link: another container may already be writing to the volume.
type treeCopy struct {
	base  int                  // the volume
	links map[[2]uint64]string // device and inode -> first name, below base
}

func (c *treeCopy) dir(src, dst *os.File, rel string) error {
	names, err := src.Readdirnames(-1)
	if err != nil {
		return err
	}
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
		return copyFile(s, d, name, &st)
	case unix.S_IFLNK:
		return copyLink(s, d, name, &st)
	case unix.S_IFIFO:
		if err := unix.Mknodat(d, name, unix.S_IFIFO|st.Mode&0o7777, 0); err != nil {
			return err
		}
		return unix.Fchownat(d, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
	}
	return nil // devices and sockets: nobody misses them in a volume
}

func (c *treeCopy) subdir(s, d int, name, rel string, st *unix.Stat_t) error {
	if err := unix.Mkdirat(d, name, 0o700); err != nil {
		return err
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	from, err := openat(s, name, flags, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := openat(d, name, flags, 0)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := c.dir(from, to, rel+"/"); err != nil {
		return err
	}
	return setMeta(int(from.Fd()), int(to.Fd()), st)
}

func copyFile(s, d int, name string, st *unix.Stat_t) error {
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
	if _, err := io.Copy(to, from); err != nil {
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

func openat(dir int, name string, flags int, mode uint32) (*os.File, error) {
	fd, err := unix.Openat(dir, name, flags, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
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
		if name == "" || strings.HasPrefix(name, "user.overlay.") || strings.HasPrefix(name, "trusted.") {
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

// chownTree changes the owner of everything below path.
func chownTree(path string, uid, gid int) error {
	dir, err := os.OpenFile(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
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
		sub, err := openat(d, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
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
