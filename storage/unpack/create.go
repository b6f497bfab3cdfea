// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/vbatts/tar-split/archive/tar"
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
	u.forgetDir()
	u.dirFD, u.dirName, u.inherit = fd, dir, st.Mode&unix.S_ISGID != 0
	return fd, nil
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

func (u *unpacker) create(name string, h *tar.Header) error {
	if u.o.FilesOnly && h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeRegA { //nolint:staticcheck // old archives have it
		return errs.New(errs.Invalid, "it is neither a file nor a directory")
	}
	dir, err := u.parent(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeRegA, tar.TypeGNUSparse, tar.TypeCont: //nolint:staticcheck // old archives have it
		return u.regular(dir, name, h)
	case tar.TypeDir:
		return u.directory(dir, name, h)
	case tar.TypeSymlink:
		if _, err := u.clear(dir, name, false); err != nil {
			return err
		}
		if err := unix.Symlinkat(h.Linkname, dir, base); err != nil {
			return err
		}
		return u.meta(dir, base, h, false)
	case tar.TypeLink:
		return u.hardlink(dir, name, h)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return u.node(dir, name, h)
	}
	return errs.New(errs.Unsupported, "entry of unknown type %q", string(h.Typeflag))
}

func (u *unpacker) regular(dir int, name string, h *tar.Header) error {
	base := path.Base(name)
	if err := u.room(h.Size); err != nil {
		return err
	}
	const flags = unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	mode := uint32(h.Mode) & 0o777
	fd, err := unix.Openat(dir, base, flags, mode)
	if errors.Is(err, unix.EEXIST) {
		if _, err := u.clear(dir, name, false); err != nil {
			return err
		}
		fd, err = unix.Openat(dir, base, flags, mode)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := u.copyRest(fd); err != nil {
		return err
	}
	if err := u.chownFD(fd, h); err != nil {
		return err
	}
	// After chown, which clears the set-uid bits.
	if !u.exact(h) {
		if err := unix.Fchmod(fd, uint32(h.Mode)&0o7777); err != nil {
			return err
		}
	}
	if err := u.xattrs(fd, h); err != nil {
		return err
	}
	ts := times(h)
	return unix.UtimesNanoAt(fd, "", ts[:], unix.AT_EMPTY_PATH)
}

// room refuses a file that cannot fit, before it fills the disk: a sparse one
// needs only a header in the archive.
func (u *unpacker) room(size int64) error {
	var st unix.Statfs_t
	if size < 64<<20 || unix.Fstatfs(u.root, &st) != nil {
		return nil
	}
	if free := st.Bavail * uint64(st.Bsize); uint64(size) > free {
		return errs.WithHint(errs.New(errs.Denied, "no space left on device: the file has %d bytes, and %d are free", size, free), "make room: proa system prune")
	}
	return nil
}

// lostBits are the mode bits that a file created in dir does not get: those of
// the umask, or of a default access list.
func lostBits(dir string) uint32 {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o777)
	if err != nil {
		return 0o777
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0o777
	}
	return 0o777 &^ st.Mode
}

// exact says that what was created for the entry has its mode already: a third
// of the calls that change an inode are spared.
func (u *unpacker) exact(h *tar.Header) bool { return uint32(h.Mode)&(0o7000|u.lost) == 0 }

func (u *unpacker) chownFD(fd int, h *tar.Header) error {
	return u.chown(h, func() error { return unix.Fchown(fd, h.Uid, h.Gid) })
}

// chown runs do unless the file belongs to the right ids by its creation.
func (u *unpacker) chown(h *tar.Header, do func() error) error {
	u.uids[uint32(h.Uid)], u.gids[uint32(h.Gid)] = true, true
	if h.Uid == 0 && h.Gid == 0 && !u.inherit || u.o.IgnoreChown {
		return nil
	}
	err := do()
	if errors.Is(err, unix.EINVAL) {
		return errs.WithHint(errs.New(errs.Unsupported, "it belongs to %d:%d, and your user namespace has no such id", h.Uid, h.Gid),
			"give yourself more subordinate ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s", userName())
	}
	return err
}

func userName() string {
	for _, v := range []string{"USER", "LOGNAME"} {
		if n := os.Getenv(v); n != "" && n != "root" {
			return n
		}
	}
	return "$USER"
}

func times(h *tar.Header) [2]unix.Timespec {
	return [2]unix.Timespec{stampOf(h.AccessTime, h.ModTime), stampOf(h.ModTime, h.ModTime)}
}

func stampOf(t, other time.Time) unix.Timespec {
	if t.Unix() <= 0 {
		t = other
	}
	if t.IsZero() || t.Unix() < 0 {
		t = time.Unix(0, 0)
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

func (u *unpacker) directory(dir int, name string, h *tar.Header) error {
	base := path.Base(name)
	err := unix.Mkdirat(dir, base, uint32(h.Mode)&0o777)
	// A set-gid directory hands its bit on.
	done := err == nil && u.exact(h) && !u.inherit
	hides := false
	if errors.Is(err, unix.EEXIST) {
		var exists bool
		hides = isWhiteout(dir, base)
		if exists, err = u.clear(dir, name, true); err == nil && !exists {
			err = unix.Mkdirat(dir, base, uint32(h.Mode)&0o777)
		}
	}
	if err != nil {
		return err
	}
	if err := u.meta(dir, base, h, done); err != nil {
		return err
	}
	// Its files will change the time again: set it at the end.
	if u.held += len(name); u.held > maxHeld {
		return errs.New(errs.Invalid, "the names of its directories take more than %d bytes", maxHeld)
	}
	u.dirs = append(u.dirs, dirTime{name, h.ModTime})
	if hides {
		// Removed, then made anew: what lower layers have there stays removed.
		return u.opaque(name)
	}
	return nil
}

func isWhiteout(dir int, base string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

func (u *unpacker) hardlink(dir int, name string, h *tar.Header) error {
	if _, err := u.clear(dir, name, false); err != nil {
		return err
	}
	target := path.Clean("/" + h.Linkname)[1:]
	if target == "" {
		return errs.New(errs.Invalid, "hard link to the root directory")
	}
	if target == name {
		return errs.New(errs.Invalid, "hard link to itself")
	}
	from, err := u.openDir(path.Dir(target))
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	defer unix.Close(from)
	// Without AT_SYMLINK_FOLLOW: a link to a symbolic link is another name of
	// that link, whatever it points to.
	if err := unix.Linkat(from, path.Base(target), dir, path.Base(name), 0); err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	return nil
}

func (u *unpacker) node(dir int, name string, h *tar.Header) error {
	if _, err := u.clear(dir, name, false); err != nil {
		return err
	}
	var kind uint32 = unix.S_IFIFO
	var dev uint64
	if h.Typeflag != tar.TypeFifo {
		kind = unix.S_IFCHR
		if h.Typeflag == tar.TypeBlock {
			kind = unix.S_IFBLK
		}
		dev = unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
		if dev == 0 && kind == unix.S_IFCHR {
			return errs.New(errs.Invalid, "device 0/0 is overlay's own mark")
		}
		if u.o.NoDevices {
			return nil
		}
	}
	base := path.Base(name)
	if err := unix.Mknodat(dir, base, kind|uint32(h.Mode)&0o777, int(dev)); err != nil {
		return err
	}
	return u.meta(dir, base, h, false)
}

// meta sets owner, mode (unless it is right by its creation), extended
// attributes and time of what is no regular file; a directory gets its time at
// the end.
func (u *unpacker) meta(dir int, base string, h *tar.Header, moded bool) error {
	err := u.chown(h, func() error { return unix.Fchownat(dir, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink && !moded {
		if err := chmodAt(dir, base, uint32(h.Mode)&0o7777); err != nil {
			return err
		}
	}
	if len(h.PAXRecords) > 0 {
		fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = u.xattrs(fd, h)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeDir {
		return nil
	}
	ts := times(h)
	return unix.UtimesNanoAt(dir, base, ts[:], unix.AT_SYMLINK_NOFOLLOW)
}

// chmodAt changes the mode of what we created just now, which is no link.
func chmodAt(dir int, base string, mode uint32) error {
	return unix.Fchmodat(dir, base, mode, 0)
}

// xattrs sets the extended attributes through /proc, since a descriptor opened
// with O_PATH takes none.
func (u *unpacker) xattrs(fd int, h *tar.Header) error {
	for k, v := range h.PAXRecords {
		name, ok := strings.CutPrefix(k, "SCHILY.xattr.")
		if !ok {
			continue
		}
		// An archive must not speak to overlay: a redirect or an opaque mark
		// could show files of other directories.
		if strings.HasPrefix(name, "user.overlay.") || strings.HasPrefix(name, "trusted.") {
			continue
		}
		if name == "system.posix_acl_default" {
			u.lost = 0o777 // what is created there gets other modes
		}
		err := unix.Setxattr("/proc/self/fd/"+strconv.Itoa(fd), name, []byte(v), 0)
		switch {
		case err == nil, errors.Is(err, unix.ENOTSUP):
		case errors.Is(err, unix.EPERM) && name != "security.capability":
			// security.selinux and others that only the host's root may set;
			// user.* on something that is neither a file nor a directory.
		case errors.Is(err, unix.EPERM) && u.o.IgnoreChown, errors.Is(err, unix.EINVAL) && u.o.IgnoreChown:
		default:
			return fmt.Errorf("extended attribute %s: %w", name, err)
		}
	}
	return nil
}

// rootEntry is the archive's "./": the root directory's own mode and owner.
func (u *unpacker) rootEntry(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return errs.New(errs.Invalid, "the root directory is not a directory")
	}
	u.forgetDir()
	u.inherit = true // what the store's own directory gave it is not known
	if err := u.meta(u.root, ".", h, false); err != nil {
		return err
	}
	m := os.FileMode(h.Mode & 0o777)
	u.res.RootMode = &m
	u.dirs = append(u.dirs, dirTime{"", h.ModTime})
	return nil
}

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

// setDirTimes goes from the last to the first: a directory may be listed twice.
func (u *unpacker) setDirTimes() error {
	u.forgetDir()
	for i := len(u.dirs) - 1; i >= 0; i-- {
		d := u.dirs[i]
		fd, err := u.openDir(d.name)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue // replaced by a later entry
		}
		if err != nil {
			return err
		}
		t := stampOf(d.at, d.at)
		err = unix.UtimesNanoAt(fd, "", []unix.Timespec{t, t}, unix.AT_EMPTY_PATH)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}
