// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"errors"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// openDir opens a directory below the root, resolving symbolic links as a
// process chrooted there would.
func (u *unpacker) openDir(name string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	if name == "" || name == "." {
		name = "/"
	}
	for {
		fd, err := unix.Openat2(u.root, name, &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// parent returns a descriptor of a directory, which stays valid until the next
// call, and makes it where the archive does not list it.
func (u *unpacker) parent(dir string) (int, error) {
	if u.dirFD >= 0 && u.dirName == dir {
		return u.dirFD, nil
	}
	fd, err := u.openDir(dir)
	if errors.Is(err, unix.ENOENT) && dir != "." && dir != "" {
		up, perr := u.parent(path.Dir(dir))
		if perr != nil {
			return -1, perr
		}
		if err := unix.Mkdirat(up, path.Base(dir), 0o755); err != nil {
			return -1, err
		}
		if u.inherit && !u.o.IgnoreChown {
			if err := unix.Fchownat(up, path.Base(dir), 0, 0, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return -1, err
			}
		}
		// Whatever the umask: others must be able to pass.
		if err := chmodAt(up, path.Base(dir), 0o755); err != nil {
			return -1, err
		}
		fd, err = u.openDir(dir)
	}
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if err := nameable(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	u.forgetDir()
	u.dirFD, u.dirName, u.inherit = fd, dir, st.Mode&unix.S_ISGID != 0
	return fd, nil
}

// nameable refuses a directory that no path can name. Through symbolic links to
// directories an archive can nest them deeper than its names are long, and what
// reads or deletes files by their path would fail there.
func nameable(fd int) error {
	var b [1]byte
	_, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), b[:])
	if errors.Is(err, unix.ENAMETOOLONG) {
		return errs.New(errs.Invalid, "its directory is nested too deep for a path of %d bytes", maxName)
	}
	return err
}

func (u *unpacker) forgetDir() {
	if u.dirFD >= 0 {
		unix.Close(u.dirFD)
	}
	u.dirFD, u.dirName = -1, ""
}

// clear removes what stands at base, unless both it and the new entry are
// directories.
func (u *unpacker) clear(dir int, name string, newDir bool) (exists bool, err error) {
	base := path.Base(name)
	var st unix.Stat_t
	err = unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if isDir && newDir {
		return true, nil
	}
	if !isDir {
		return false, unix.Unlinkat(dir, base, 0)
	}
	return false, removeTree(dir, base)
}

// removeTree deletes a directory of this layer that a later entry replaces. It
// follows no link: each step is relative to a directory that it opened itself.
func removeTree(dir int, base string) error {
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		err := unix.Unlinkat(fd, n, 0)
		if errors.Is(err, unix.EISDIR) {
			err = removeTree(fd, n)
		}
		if err != nil {
			return err
		}
	}
	return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
}
