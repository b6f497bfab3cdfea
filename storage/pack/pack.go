// SPDX-License-Identifier: Apache-2.0

// Package pack reads the upper directory of an overlay: as the tar archive of a
// layer, always the same for the same content, or as a list of changes.
//
// The container that owns the directory may still be running. Every step is
// therefore relative to an open directory and follows no link, so that a
// directory exchanged for a link in the middle of the walk leads nowhere.
package pack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/overlay"
	"github.com/proa-containers/proa/pkg/rmtree"
	"github.com/proa-containers/proa/pkg/spec"
)

// Options say how an archive is made.
type Options struct {
	// Epoch, where not nil, is the latest time that a file may have: newer ones
	// get it.
	Epoch *time.Time
	// Clean takes overlay's own notes off the files, removes what the archive
	// cannot have, and gives marks of fuse-overlayfs the kernel's form: the
	// directory is to become a lower one.
	Clean bool
	// Layer says that the archive is a layer's. A name that begins with .wh.
	// hides another one there; a file that really is called so is left out.
	Layer bool
	// Fuse says that fuse-overlayfs wrote the directory: such names are its
	// marks.
	Fuse bool
	// Root adds an entry "./" for the directory itself: its mode or owner is
	// part of the change.
	Root bool
	// Skip are paths ("etc/hosts") that are left out where they are directories,
	// empty files, or the link that a container's start makes.
	Skip map[string]bool
}

type packer struct {
	o     Options
	w     *tar.Writer
	links map[inode]string
	buf   []byte
}

type inode struct{ dev, ino uint64 }

// Tar writes the content of dir to w, sorted by name, without the directory
// itself unless o.Root says so. Overlay's marks become those of the image specification (.wh.).
func Tar(w io.Writer, dir string, o Options) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	p := &packer{o: o, w: tar.NewWriter(w), links: map[inode]string{}, buf: make([]byte, 256<<10)}
	if o.Root {
		if err := p.root(fd); err != nil {
			unix.Close(fd)
			return err
		}
	}
	if _, err := p.dir(fd, "", false, time.Time{}); err != nil {
		return err
	}
	return p.w.Close()
}

// root writes the entry of the directory itself. Its time does not count: every
// file that is made in it changes it.
func (p *packer) root(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	st.Mtim = unix.Timespec{}
	h := p.header("./", &st)
	h.Typeflag = tar.TypeDir
	return p.w.WriteHeader(h)
}

// dir packs the entries of an open directory, which it closes. changed says that
// it cleaned something away; opaque that an attribute of the directory hides
// what lies below, and mtime is for that mark.
func (p *packer) dir(fd int, name string, opaque bool, mtime time.Time) (changed bool, err error) {
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return false, fmt.Errorf("cannot read directory %q: %w", name, err)
	}
	slices.Sort(names)
	if p.o.Fuse || p.o.Layer {
		if names, opaque, changed, err = p.marks(fd, name, names, opaque); err != nil {
			return changed, err
		}
	}
	if opaque {
		if err := p.mark(path.Join(name, overlay.OpaqueName), mtime); err != nil {
			return changed, err
		}
	}
	for _, n := range names {
		gone, err := p.entry(fd, n, path.Join(name, n))
		if err != nil {
			return changed, fmt.Errorf("cannot pack %q: %w", path.Join(name, n), err)
		}
		changed = changed || gone
	}
	return changed, nil
}

// marks looks at the names that begin with .wh. and returns the others. Marks
// of fuse-overlayfs go into the archive with the whiteouts, or into opaque.
func (p *packer) marks(fd int, dir string, names []string, opaque bool) (rest []string, _, changed bool, err error) {
	made := false
	for _, n := range names {
		if !strings.HasPrefix(n, overlay.Prefix) {
			rest = append(rest, n)
			continue
		}
		m, hidden := overlay.None, ""
		if p.o.Fuse {
			m, hidden = overlay.MarkName(n)
		}
		made = made || m == overlay.Opaque
		// A whiteout is one in the archive as well, where no file took its place.
		if m == overlay.Whiteout && !slices.Contains(names, hidden) {
			rest = append(rest, n)
			continue
		}
		if !p.o.Clean {
			continue
		}
		if err := p.remove(fd, n); err != nil {
			return rest, opaque, changed, fmt.Errorf("cannot remove %q: %w", path.Join(dir, n), err)
		}
		changed = true
	}
	if made && p.o.Clean && !opaque {
		if err := unix.Fsetxattr(fd, overlay.OpaqueXattr(), []byte("y"), 0); err != nil {
			return rest, opaque, changed, fmt.Errorf("cannot mark %q as opaque: %w", dir, err)
		}
	}
	return rest, opaque || made, changed, nil
}

// remove takes an entry away that the archive cannot have.
func (p *packer) remove(fd int, name string) error {
	err := unix.Unlinkat(fd, name, 0)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) {
		return rmtree.Remove(fmt.Sprintf("/proc/self/fd/%d/%s", fd, name))
	}
	return err
}

// bare says that an entry of Skip is as a container's start makes it.
func (p *packer) bare(dir int, base, name string, st *unix.Stat_t) bool {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return true
	case unix.S_IFREG:
		return st.Size == 0
	case unix.S_IFLNK:
		target, err := readlink(dir, base)
		return err == nil && "/"+name == spec.MtabPath && target == spec.MtabTarget
	}
	return false
}

// entry packs one entry of a directory; gone says that it cleaned it away, or
// made it another one.
func (p *packer) entry(dir int, base, name string) (gone bool, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil // gone meanwhile
	}
	if err != nil {
		return false, err
	}
	if p.o.Skip[name] && p.bare(dir, base, name, &st) {
		return false, nil
	}
	if m, hidden := overlay.MarkOf(base, &st, p.o.Fuse); m == overlay.Whiteout {
		return p.whiteout(dir, base, hidden, path.Dir(name), &st)
	}
	h := p.header(name, &st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return false, p.directory(dir, base, h, &st)
	case unix.S_IFREG:
		return false, p.regular(dir, base, h, &st)
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = readlink(dir, base); err != nil {
			return false, err
		}
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeBlock
		if st.Mode&unix.S_IFMT == unix.S_IFCHR {
			h.Typeflag = tar.TypeChar
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	default: // a socket means nothing without its listener
		if p.o.Clean {
			return true, unix.Unlinkat(dir, base, 0)
		}
		return false, nil
	}
	if p.linked(h, &st) {
		return false, p.w.WriteHeader(h)
	}
	if err := p.setTimes(dir, base, h, &st); err != nil {
		return false, err
	}
	return false, p.w.WriteHeader(h)
}

// whiteout packs the mark that hides a name of the layers below.
func (p *packer) whiteout(dir int, base, hidden, parent string, st *unix.Stat_t) (gone bool, err error) {
	if p.o.Clean && base != hidden {
		// fuse-overlayfs makes a file where it may not make the kernel's mark.
		if err := unix.Mknodat(dir, hidden, unix.S_IFCHR, 0); err != nil {
			return false, err
		}
		if err := unix.Unlinkat(dir, base, 0); err != nil {
			return false, err
		}
		gone = true
	}
	return gone, p.mark(path.Join(parent, overlay.Prefix+hidden), time.Unix(st.Mtim.Sec, 0))
}

func (p *packer) header(name string, st *unix.Stat_t) *tar.Header {
	h := &tar.Header{Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid)}
	h.ModTime = p.clamp(time.Unix(st.Mtim.Sec, 0))
	return h
}

func (p *packer) clamp(t time.Time) time.Time {
	if p.o.Epoch != nil && t.After(*p.o.Epoch) {
		return p.o.Epoch.Truncate(time.Second)
	}
	return t
}

// setTimes gives the file on disk the time that the archive says.
func (p *packer) setTimes(dir int, base string, h *tar.Header, st *unix.Stat_t) error {
	if !p.o.Clean || p.o.Epoch == nil || h.ModTime.Unix() == st.Mtim.Sec {
		return nil
	}
	ts := unix.Timespec{Sec: h.ModTime.Unix()}
	return unix.UtimesNanoAt(dir, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// linked turns h into a hard link where the file was packed under another name.
func (p *packer) linked(h *tar.Header, st *unix.Stat_t) bool {
	if st.Nlink < 2 {
		return false
	}
	key := inode{uint64(st.Dev), st.Ino}
	if first, ok := p.links[key]; ok {
		h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
		return true
	}
	p.links[key] = h.Name
	return false
}

func (p *packer) mark(name string, mtime time.Time) error {
	return p.w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, ModTime: p.clamp(mtime)})
}

func (p *packer) directory(dir int, base string, h *tar.Header, st *unix.Stat_t) error {
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	h.Typeflag = tar.TypeDir
	name := h.Name
	h.Name += "/"
	opaque, err := p.xattrs(fd, h)
	if err == nil {
		err = p.w.WriteHeader(h)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	// Whole file systems have nothing below that a directory could hide.
	changed, err := p.dir(fd, name, opaque && p.o.Layer, time.Unix(st.Mtim.Sec, 0))
	if err != nil {
		return err
	}
	if changed { // its time, too
		ts := []unix.Timespec{st.Atim, st.Mtim}
		if err := unix.UtimesNanoAt(dir, base, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	return p.setTimes(dir, base, h, st)
}

func (p *packer) regular(dir int, base string, h *tar.Header, st *unix.Stat_t) error {
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("it changed while it was read")
	}
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if _, err := p.xattrs(fd, h); err != nil {
		return err
	}
	if p.linked(h, st) {
		return p.w.WriteHeader(h)
	}
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	if err := p.content(fd, st.Size); err != nil {
		return err
	}
	return p.setTimes(dir, base, h, st)
}

// content copies exactly size bytes: a file that shrinks meanwhile is filled
// with zeros, one that grows is cut.
func (p *packer) content(fd int, size int64) error {
	for size > 0 {
		n, err := unix.Read(fd, p.buf[:min(int64(len(p.buf)), size)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			clear(p.buf)
			n = int(min(int64(len(p.buf)), size))
		}
		if _, err := p.w.Write(p.buf[:n]); err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// xattrs records a file's extended attributes and reports overlay's mark for a
// directory that hides what lies below.
func (p *packer) xattrs(fd int, h *tar.Header) (opaque bool, err error) {
	size, err := unix.Flistxattr(fd, nil)
	if err != nil || size == 0 {
		return false, ignore(err)
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(fd, list); err != nil {
		return false, ignore(err)
	}
	for _, name := range strings.Split(strings.TrimRight(string(list[:size]), "\x00"), "\x00") {
		mine := overlay.IsNote(name)
		if !mine && name != "security.capability" && !strings.HasPrefix(name, "user.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Fgetxattr(fd, name, value)
		if err != nil {
			if ignore(err) != nil {
				return false, err
			}
			continue
		}
		switch {
		case mine:
			hides := overlay.IsOpaque(name, value[:n], p.o.Fuse)
			opaque = opaque || hides
			if p.o.Clean && name != overlay.OpaqueXattr() {
				_ = unix.Fremovexattr(fd, name)
			}
			if p.o.Clean && hides {
				if err := unix.Fsetxattr(fd, overlay.OpaqueXattr(), []byte("y"), 0); err != nil {
					return false, err
				}
			}
		default:
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+name] = string(value[:n])
		}
	}
	return opaque, nil
}

func ignore(err error) error {
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EPERM) {
		return nil
	}
	return err
}

func readlink(dir int, base string) (string, error) {
	b := make([]byte, 4096)
	n, err := unix.Readlinkat(dir, base, b)
	return string(b[:max(n, 0)]), err
}
