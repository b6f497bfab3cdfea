// SPDX-License-Identifier: Apache-2.0

package files

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"go.podman.io/image/v5/pkg/compression"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/sparse"
	"github.com/proa-containers/proa/pkg/spec"
)

// Bounds of an archive that ADD or a build context brings. They stop bombs,
// not real archives: the largest Linux distributions have some 10^5 files.
const (
	maxTarEntries = 1_000_000
	maxTarBytes   = 64 << 30
)

// ExtractOptions say how unpacked files differ from the archive's.
type ExtractOptions struct {
	Owner *Owner     // nil: keep the archive's
	Chmod *Mode      // nil: likewise
	Epoch *time.Time // no file is made newer than this
}

// LooksLikeTar says whether head, the first 512 bytes, begins a tar archive or
// a compressed file.
func LooksLikeTar(head []byte) bool {
	for _, magic := range [][]byte{{0x1f, 0x8b}, []byte("BZh"), {0xfd, '7', 'z', 'X', 'Z', 0}, {0x28, 0xb5, 0x2f, 0xfd}} {
		if bytes.HasPrefix(head, magic) {
			return true
		}
	}
	return len(head) >= 512 && bytes.HasPrefix(head[257:], []byte("ustar"))
}

// IsTar says whether a file is an archive that ADD unpacks: its beginning,
// decompressed, must be a tar header.
func IsTar(f io.ReadSeeker) bool {
	defer f.Seek(0, io.SeekStart) //nolint:errcheck // the next read tells
	head := make([]byte, 512)
	n, _ := io.ReadFull(f, head)
	if !LooksLikeTar(head[:n]) {
		return false
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false
	}
	r, _, err := compression.AutoDecompress(f)
	if err != nil {
		return false
	}
	defer r.Close()
	_, err = tar.NewReader(r).Next()
	return err == nil
}

// Extract unpacks an archive into dest inside the root, which is made where it is
// missing. To the archive dest is "/": whatever links it brings along or finds there,
// nothing of it is written elsewhere. A link on the way to dest is followed. Names with
// ".." and device nodes are refused.
func Extract(dst *Root, dest string, r io.Reader, o ExtractOptions) error {
	made := NewDirs{Mode: 0o755}
	if o.Owner != nil {
		made.Owner = *o.Owner
	}
	below, err := dst.below(dest, made)
	if err != nil {
		return err
	}
	defer below.Close()
	plain, _, err := compression.AutoDecompress(r)
	if err != nil {
		return errs.New(errs.Corrupt, "cannot unpack the archive: %v", err)
	}
	defer plain.Close()
	c := NewCopier(below)
	c.Owner, c.Chmod, c.Epoch = o.Owner, o.Chmod, o.Epoch
	c.replace = true // the archive's files win over those that are there
	defer c.Close()
	x := &extractor{c: c, tr: tar.NewReader(&capReader{r: plain, left: maxTarBytes}), left: maxTarBytes}
	return x.run()
}

// capReader fails once more than left bytes came out of it.
type capReader struct {
	r    io.Reader
	left int64
}

func (c *capReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return n, errTooLarge()
	}
	return n, err
}

func errTooLarge() error {
	return errs.New(errs.Invalid, "the archive unpacks to more than %d GiB", maxTarBytes>>30)
}

type extractor struct {
	c    *Copier
	tr   *tar.Reader
	left int64       // bytes of files that may still come
	dirs []walkedDir // times to set at the end
	buf  []byte
}

type walkedDir struct {
	path string
	e    Entry
}

func (x *extractor) run() error {
	for n := 0; ; n++ {
		hdr, err := x.tr.Next()
		if errors.Is(err, io.EOF) {
			return errors.Join(x.c.Finish(), x.dirTimes())
		}
		if err != nil {
			return errs.New(errs.Corrupt, "cannot unpack the archive: %v", err)
		}
		if n >= maxTarEntries {
			return errs.New(errs.Invalid, "the archive has more than %d entries", maxTarEntries)
		}
		if err := x.one(hdr); err != nil {
			return err
		}
		x.xattrs(hdr)
	}
}

func (x *extractor) one(hdr *tar.Header) error {
	name, err := entryName(hdr.Name)
	if err != nil {
		return err
	}
	if name == "" && hdr.Typeflag != tar.TypeDir {
		return nil // as in Docker nothing takes the place of the destination itself
	}
	if x.c.Owner == nil {
		if err := spec.CheckOwner(hdr.Uid, hdr.Gid); err != nil {
			return errs.Wrap(err, "unpack", hdr.Name)
		}
	}
	e := Entry{Path: name, Rel: name, Link: hdr.Linkname}
	e.Stat.Uid, e.Stat.Gid = uint32(hdr.Uid), uint32(hdr.Gid)
	e.Stat.Mode = uint32(hdr.Mode & 0o7777)
	e.Stat.Mtim = unix.NsecToTimespec(hdr.ModTime.UnixNano())
	dest := "/" + name
	switch hdr.Typeflag {
	case tar.TypeDir:
		e.Stat.Mode |= unix.S_IFDIR
		x.dirs = append(x.dirs, walkedDir{dest, e})
		if err := x.clearForDir(dest, e.Stat.Mtim); err != nil {
			return err
		}
		return x.c.makeDir(&e, dest)
	case tar.TypeReg, tar.TypeGNUSparse:
		e.Stat.Mode |= unix.S_IFREG
		return x.file(&e, dest, hdr)
	case tar.TypeSymlink:
		e.Stat.Mode |= unix.S_IFLNK
		return x.c.copyOne(nil, &e, dest)
	case tar.TypeLink:
		return x.hardlink(hdr, dest)
	case tar.TypeFifo:
		e.Stat.Mode |= unix.S_IFIFO
		return x.c.copyOne(nil, &e, dest)
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeChar, tar.TypeBlock:
		return errs.New(errs.Unsupported, "the archive holds the device node %q, which an unprivileged user cannot make", hdr.Name)
	}
	return errs.New(errs.Invalid, "the archive holds an entry of unknown type %q: %q", hdr.Typeflag, hdr.Name)
}

// xattrs sets the entry's extended attributes, as far as the file system takes
// them.
func (x *extractor) xattrs(hdr *tar.Header) {
	if hdr.Typeflag != tar.TypeReg && hdr.Typeflag != tar.TypeDir {
		return
	}
	fd := -1
	for key, value := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if !ok || !keptXattr(name) {
			continue
		}
		if fd < 0 {
			var err error
			if fd, err = x.c.Root.Open(path.Clean("/"+hdr.Name), unix.O_PATH|unix.O_NOFOLLOW); err != nil {
				return
			}
			defer unix.Close(fd)
		}
		_ = unix.Setxattr(procPath(fd), name, []byte(value), 0)
	}
}

// clearForDir removes what is in the way of a directory. A link to one stays: a
// distribution's /lib may be one.
func (x *extractor) clearForDir(dest string, t unix.Timespec) error {
	if _, err := x.c.Root.Lstat(dest); err != nil || x.c.Root.IsDir(dest) {
		return nil
	}
	dir, base, err := x.c.parentOf(dest, t)
	if err != nil {
		return err
	}
	return x.c.clear(dir, base, dest)
}

// entryName refuses names that try to climb; a leading slash means the root of
// the archive, as for tar(1).
func entryName(name string) (string, error) {
	for _, part := range strings.Split(name, "/") {
		if part == ".." {
			return "", errs.New(errs.Invalid, "the archive holds an entry that leads out of it: %q", name)
		}
	}
	return strings.Trim(path.Clean("/"+name), "/"), nil
}

func (x *extractor) file(e *Entry, dest string, hdr *tar.Header) error {
	// The holes of a sparse file are not in the archive, and what reads the file gets
	// them all the same.
	if x.left -= hdr.Size; x.left < 0 {
		return errTooLarge()
	}
	return x.c.writeFile(e, dest, x.fill)
}

// fill writes the content of the entry.
func (x *extractor) fill(f *os.File) error {
	if x.buf == nil {
		x.buf = make([]byte, 128<<10)
	}
	to := sparse.NewWriter(int(f.Fd()))
	// Without the WriteTo of either: whole buffers, so that zeros are found.
	if _, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{x.tr}, x.buf); err != nil {
		return errs.Wrap(err, "unpack", f.Name())
	}
	return to.Finish()
}

func (x *extractor) hardlink(hdr *tar.Header, dest string) error {
	target, err := entryName(hdr.Linkname)
	if err != nil {
		return err
	}
	dir, base, err := x.c.parentOf(dest, unix.NsecToTimespec(hdr.ModTime.UnixNano()))
	if err != nil {
		return err
	}
	if err := x.c.clear(dir, base, dest); err != nil {
		return err
	}
	fd, err := x.c.Root.Open("/"+target, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return linkFD(fd, dir, base, target)
}

func (x *extractor) dirTimes() error {
	for i := range x.dirs {
		d := &x.dirs[i]
		fd, err := x.c.Root.Open(d.path, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			continue // a later entry replaced it
		}
		err = unix.UtimesNanoAt(unix.AT_FDCWD, procPath(fd), x.c.times(&d.e), 0)
		unix.Close(fd)
		if err != nil {
			return &os.PathError{Op: "utimes", Path: d.path, Err: err}
		}
	}
	return nil
}
