// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/rmtree"
)

// Copier writes files below a root, such as a layer. It is used by one goroutine
// and closed by who made it.
type Copier struct {
	Root  *Root      // where the files go
	Owner *Owner     // nil: keep the source's
	Chmod *Mode      // nil: keep the source's
	Epoch *time.Time // no file is made newer than this; nil: keep the times
	Unset bool       // no program gets rights: its owner is not the one that was meant

	replace bool // a directory in the way of something else goes

	links    map[inode]string // first destination of a file with several links
	noClones bool             // the file systems share no blocks: asking again is in vain
	buf      []byte           // for content, once it is needed
	// The last parent directory, kept open: entries come in order, so
	// neighbours share it.
	parent     int
	parentPath string
}

type inode struct{ dev, ino uint64 }

// NewCopier returns a Copier that keeps owners, modes and times.
func NewCopier(dst *Root) *Copier {
	return &Copier{Root: dst, links: map[inode]string{}, parent: -1}
}

// Close gives back what the Copier holds open; the root stays open.
func (c *Copier) Close() error {
	if c.parent >= 0 {
		unix.Close(c.parent)
		c.parent = -1
	}
	return nil
}

// CopyAll writes the walker's entries below dest. With contents the first
// entry is a directory whose own mode matters only when it is made here.
func (c *Copier) CopyAll(w *Walker, dest string) error {
	for i := range w.Entries {
		e := &w.Entries[i]
		if err := c.copyOne(w.Root, e, path.Join("/", dest, e.Rel)); err != nil {
			return err
		}
	}
	return c.restoreDirTimes(w, dest)
}

func (c *Copier) copyOne(src *Root, e *Entry, dest string) error {
	switch e.Stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.copyDir(src, e, dest)
	case unix.S_IFREG:
		return c.copyFile(src, e, dest)
	case unix.S_IFLNK:
		return c.makeNode(e, dest, func(dir int, base string) error { return unix.Symlinkat(e.Link, dir, base) })
	case unix.S_IFIFO:
		return c.makeNode(e, dest, func(dir int, base string) error { return unix.Mknodat(dir, base, unix.S_IFIFO|0o600, 0) })
	case unix.S_IFSOCK:
		return nil // a socket without its server means nothing
	}
	return errs.New(errs.Unsupported, "cannot copy %q: it is a device, which an unprivileged user cannot make", e.Path)
}

func (c *Copier) ownerOf(e *Entry) Owner {
	if c.Owner != nil {
		return *c.Owner
	}
	return Owner{int(e.Stat.Uid), int(e.Stat.Gid)}
}

func (c *Copier) modeOf(e *Entry) uint32 {
	mode := e.Stat.Mode & 0o7777
	if c.Chmod != nil {
		mode = c.Chmod.apply(mode, e.isDir())
	}
	if c.Unset {
		mode &^= unix.S_ISUID | unix.S_ISGID
	}
	return mode
}

func (c *Copier) makeDir(e *Entry, dest string) error {
	fd, _, err := c.openDir(e, dest)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// openDir makes a directory like e and opens it (O_PATH). The one that is copied itself,
// where it is there already, stays as it is.
func (c *Copier) openDir(e *Entry, dest string) (fd int, stays bool, err error) {
	existed := true
	if _, err := c.Root.Stat(dest); err != nil {
		existed = false
	}
	if fd, err = c.Root.MkdirAll(dest, 0o755, c.parentOwner()); err != nil {
		return -1, false, err
	}
	if existed && e.Rel == "" {
		return fd, true, nil
	}
	// Through /proc: fd is O_PATH, and a link was followed to get it.
	self := procPath(fd)
	own := c.ownerOf(e)
	if err := unix.Chown(self, own.UID, own.GID); err != nil {
		unix.Close(fd)
		return -1, false, &os.PathError{Op: "chown", Path: dest, Err: chownHint(err)}
	}
	if err := unix.Chmod(self, c.modeOf(e)); err != nil {
		unix.Close(fd)
		return -1, false, &os.PathError{Op: "chmod", Path: dest, Err: err}
	}
	return fd, false, nil
}

// copyDir makes a directory with the attributes of the source's.
func (c *Copier) copyDir(src *Root, e *Entry, dest string) error {
	to, stays, err := c.openDir(e, dest)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	if stays {
		return nil
	}
	from, err := src.Open(e.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	for _, x := range xattrsOf(from) {
		_ = unix.Setxattr(procPath(to), x.name, x.value, 0) // see finish
	}
	return nil
}

// MakeMissing makes a directory like e, unless there is one.
func (c *Copier) MakeMissing(e *Entry, dest string) error {
	if c.Root.IsDir(dest) {
		return nil
	}
	return c.makeDir(e, dest)
}

// parentOwner owns the directories that a destination lacks.
func (c *Copier) parentOwner() Owner {
	if c.Owner != nil {
		return *c.Owner
	}
	return Owner{}
}

func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// parentOf opens the directory that dest lies in, making it where it is
// missing.
func (c *Copier) parentOf(dest string) (int, string, error) {
	dir, base := SplitDest(dest)
	if c.parent >= 0 && c.parentPath == dir {
		return c.parent, base, nil
	}
	fd, err := c.Root.MkdirAll(dir, 0o755, c.parentOwner())
	if err != nil {
		return -1, "", err
	}
	_ = c.Close()
	c.parent, c.parentPath = fd, dir
	return fd, base, nil
}

// clear removes what stands at dest. A directory must not stand there, unless
// the Copier replaces it.
func (c *Copier) clear(dir int, base, dest string) error {
	err := unix.Unlinkat(dir, base, 0)
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return nil
	case c.replace && errors.Is(err, unix.EISDIR):
		return rmtree.Remove(procPath(dir) + "/" + base)
	case errors.Is(err, unix.EISDIR), errors.Is(err, unix.EPERM):
		return errs.New(errs.Invalid, "cannot copy to %s: a directory is in the way", dest)
	}
	return &os.PathError{Op: "unlink", Path: dest, Err: err}
}

func (c *Copier) makeNode(e *Entry, dest string, mk func(dir int, base string) error) error {
	dir, base, err := c.parentOf(dest)
	if err != nil {
		return err
	}
	if err := c.clear(dir, base, dest); err != nil {
		return err
	}
	if err := mk(dir, base); err != nil {
		return &os.PathError{Op: "create", Path: dest, Err: err}
	}
	own := c.ownerOf(e)
	if err := unix.Fchownat(dir, base, own.UID, own.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "chown", Path: dest, Err: chownHint(err)}
	}
	return unix.UtimesNanoAt(dir, base, c.times(e), unix.AT_SYMLINK_NOFOLLOW)
}

func (c *Copier) copyFile(src *Root, e *Entry, dest string) error {
	dir, base, err := c.parentOf(dest)
	if err != nil {
		return err
	}
	if e.Stat.Nlink > 1 && c.Owner == nil {
		key := inode{e.Stat.Dev, e.Stat.Ino}
		if first, ok := c.links[key]; ok {
			if err := c.clear(dir, base, dest); err != nil {
				return err
			}
			return c.link(first, dir, base)
		}
		c.links[key] = dest
	}
	from, err := src.Open(e.Path, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	to, err := c.createIn(dir, base, dest)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	if err := c.content(from, to, e.Stat.Size); err != nil {
		return &os.PathError{Op: "copy", Path: dest, Err: err}
	}
	return c.finish(to, e, dest, xattrsOf(from))
}

// createIn makes a new regular file. What stood there before goes.
func (c *Copier) createIn(dir int, base, dest string) (int, error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, base, flags, 0o600)
	if errors.Is(err, unix.EEXIST) {
		if err := c.clear(dir, base, dest); err != nil {
			return -1, err
		}
		fd, err = unix.Openat(dir, base, flags, 0o600)
	}
	if err != nil {
		return -1, &os.PathError{Op: "create", Path: dest, Err: err}
	}
	return fd, nil
}

// content fills a new file: with the very blocks of the source where the file
// systems can, else in the kernel, else through a buffer.
func (c *Copier) content(from, to int, size int64) error {
	if !c.noClones {
		if unix.IoctlFileClone(to, from) == nil {
			return nil
		}
		c.noClones = true
	}
	for done := int64(0); ; {
		n, err := unix.CopyFileRange(from, nil, to, nil, 1<<30, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil && done == 0:
			return c.copyThrough(from, to)
		case err != nil:
			return err
		}
		done += int64(n)
		// A file of the size 0 may still have content: one of /proc or /sys, to
		// which this call says that there is none.
		if n == 0 && done == 0 {
			return c.copyThrough(from, to)
		}
		// Known to be complete: no need to ask for the end.
		if n == 0 || done == size {
			return nil
		}
	}
}

// copyThrough copies between file systems that cannot among themselves.
func (c *Copier) copyThrough(from, to int) error {
	if c.buf == nil {
		c.buf = make([]byte, 128<<10)
	}
	for {
		n, err := readSome(from, c.buf)
		if err != nil || n == 0 {
			return err
		}
		for p := c.buf[:n]; len(p) > 0; {
			m, err := unix.Write(to, p)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return err
			}
			p = p[m:]
		}
	}
}

// readSome reads what a signal does not interrupt; 0 is the end.
func readSome(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (c *Copier) link(first string, dir int, base string) error {
	fd, err := c.Root.Open(first, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Linkat(unix.AT_FDCWD, procPath(fd), dir, base, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "link", Old: first, New: base, Err: err}
	}
	return nil
}

// finish gives a file what it has beside its content. The order counts: a change of the
// owner takes set-id bits and capabilities away.
func (c *Copier) finish(fd int, e *Entry, dest string, xattrs []xattr) error {
	own := c.ownerOf(e)
	if err := unix.Fchown(fd, own.UID, own.GID); err != nil {
		return &os.PathError{Op: "chown", Path: dest, Err: chownHint(err)}
	}
	if err := unix.Fchmod(fd, c.modeOf(e)); err != nil {
		return &os.PathError{Op: "chmod", Path: dest, Err: err}
	}
	for _, x := range xattrs {
		if c.Unset && x.name == capability {
			continue
		}
		// A file system without such attributes keeps the file itself.
		_ = unix.Fsetxattr(fd, x.name, x.value, 0)
	}
	return unix.UtimesNanoAt(fd, "", c.times(e), unix.AT_EMPTY_PATH)
}

func (c *Copier) times(e *Entry) []unix.Timespec {
	ts := e.Stat.Mtim
	if c.Epoch != nil && ts.Sec > c.Epoch.Unix() {
		ts = unix.Timespec{Sec: c.Epoch.Unix()}
	}
	return []unix.Timespec{ts, ts}
}

// restoreDirTimes sets the times of directories last: making their children
// changed them. Deepest first does not matter, as this changes no entry.
func (c *Copier) restoreDirTimes(w *Walker, dest string) error {
	for i := range w.Entries {
		e := &w.Entries[i]
		if !e.isDir() || e.Rel == "" {
			continue
		}
		fd, err := c.Root.Open(path.Join("/", dest, e.Rel), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		err = unix.UtimesNanoAt(unix.AT_FDCWD, procPath(fd), c.times(e), 0)
		unix.Close(fd)
		if err != nil {
			return &os.PathError{Op: "utimes", Path: e.Rel, Err: err}
		}
	}
	return nil
}

// WriteFile makes a regular file with given content (heredocs, ADD of a URL).
func (c *Copier) WriteFile(dest string, content io.Reader, mode uint32, mtime time.Time) error {
	return c.writeFile(dest, mode, mtime, func(f *os.File) error {
		_, err := io.Copy(f, content)
		return err
	})
}

func (c *Copier) writeFile(dest string, mode uint32, mtime time.Time, fill func(*os.File) error) error {
	dir, base, err := c.parentOf(dest)
	if err != nil {
		return err
	}
	fd, err := c.createIn(dir, base, dest)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), dest)
	defer f.Close()
	if err := fill(f); err != nil {
		return err
	}
	e := &Entry{Stat: unix.Stat_t{Mode: unix.S_IFREG | mode, Mtim: unix.NsecToTimespec(mtime.UnixNano())}}
	return c.finish(fd, e, dest, nil)
}
