// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vbatts/tar-split/archive/tar"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/overlay"
	"github.com/proa-containers/proa/pkg/subid"
)

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
			"%s", subid.HintFor(subid.Mapped(), int64(max(h.Uid, h.Gid))))
	}
	return err
}

// unset takes away what would run with an owner that the file does not have here: with
// one id each file is root's. What root owns keeps its bits, and tar-split has the
// header as it came.
func (u *unpacker) unset(h *tar.Header) {
	mode := h.Mode
	if h.Uid != 0 {
		mode &^= unix.S_ISUID
	}
	if h.Gid != 0 {
		mode &^= unix.S_ISGID
	}
	if mode != h.Mode {
		h.Mode = mode
		u.res.Unset++
	}
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
		if overlay.IsNote(name) || strings.HasPrefix(name, "trusted.") {
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
