// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/vbatts/tar-split/archive/tar"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

func (u *unpacker) create(name string, h *tar.Header) error {
	if u.o.FilesOnly && h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeRegA { //nolint:staticcheck // old archives have it
		return errs.New(errs.Invalid, "it is neither a file nor a directory")
	}
	dir, err := u.parent(path.Dir(name))
	if mark, merr := u.markAbove(path.Dir(name), err); merr != nil {
		return merr
	} else if mark != "" {
		if dir, err = u.remake(mark, path.Dir(name)); err != nil {
			return err
		}
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
		return noRoom("the file has %d bytes, and %d are free", size, free)
	}
	return nil
}

// From which size on the disk is looked at, how often, and what a layer must leave
// of it.
const (
	modestBytes   = 64 << 20
	modestEntries = 16_384
	lookBytes     = 1 << 20
	lookEntries   = 128
	reserveBytes  = 256 << 20 // or a hundredth of the disk, where that is less
	reserveInodes = 16_384    // likewise
)

// reserve ends a layer before it has taken the last of the disk: a bomb must not
// stop whatever else runs here. Small layers never ask.
func (u *unpacker) reserve() error {
	var st unix.Statfs_t
	if u.recordOnly || unix.Fstatfs(u.root, &st) != nil {
		return nil
	}
	free, want := st.Bavail*uint64(st.Bsize), min(st.Blocks*uint64(st.Bsize)/100, reserveBytes)
	if free < want {
		return noRoom("%d bytes are free, and a layer leaves %d to others", free, want)
	}
	// Some file systems make inodes as they need them, and count none.
	if want := min(st.Files/100, reserveInodes); st.Files > 0 && st.Ffree < want {
		return noRoom("%d more files are possible, and a layer leaves %d to others", st.Ffree, want)
	}
	return nil
}

func noRoom(format string, args ...any) error {
	return errs.WithHint(errs.New(errs.Denied, "no space left on device: "+format, args...), "make room: proa system prune")
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
