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
	"github.com/proa-containers/proa/pkg/sparse"
)

// Copier writes files below a root, such as a layer. It is used by one goroutine
// and closed by who made it.
type Copier struct {
	Root  *Root      // where the files go
	Owner *Owner     // nil: keep the source's
	Chmod *Mode      // nil: keep the source's
	Epoch *time.Time // no file is made newer than this; nil: keep the times
	Unset bool       // no program gets rights: its owner is not the one that was meant
	// Alike: a copied directory that is made has the attributes of its source. Else it is
	// made for the files in it, like the parents that the destination lacks.
	Alike bool

	replace bool // a directory in the way of something else goes

	links map[inode]linked // the first copy of a file with several names
	made  []madeDir        // their times come last: files that are made in them change these
	data  sparse.Copier
	// The last parent directory, kept open: entries come in order, so
	// neighbours share it.
	parent     int
	parentPath string
}

type inode struct{ dev, ino uint64 }

// linked is a copy: where it was made, and which file it is. Another source of the same
// COPY may have another file there since.
type linked struct {
	path string
	file inode
}

// madeDir is a directory that a destination lacked. It gets the time of what it was made
// for: with that of the clock the same files would give another layer each time.
type madeDir struct {
	path string
	time unix.Timespec
}

// NewCopier returns a Copier that keeps owners, modes and times.
func NewCopier(dst *Root) *Copier {
	return &Copier{Root: dst, links: map[inode]linked{}, parent: -1}
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
// entry is a directory, which stays as it is where dest is there.
func (c *Copier) CopyAll(w *Walker, dest string) error {
	for i := range w.Entries {
		e := &w.Entries[i]
		if err := c.copyOne(w.Root, e, path.Join("/", dest, e.Rel)); err != nil {
			return err
		}
	}
	return c.restoreDirTimes(w, dest)
}

// Finish gives the directories that destinations lacked their times. Nothing is copied
// after it.
func (c *Copier) Finish() error {
	for _, d := range c.made {
		fd, err := c.Root.Open(d.path, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			continue // something else came into its place
		}
		err = unix.UtimesNanoAt(unix.AT_FDCWD, procPath(fd), []unix.Timespec{d.time, d.time}, 0)
		unix.Close(fd)
		if err != nil {
			return &os.PathError{Op: "utimes", Path: d.path, Err: err}
		}
	}
	return nil
}

func (c *Copier) copyOne(src *Root, e *Entry, dest string) error {
	if e.isDir() {
		return c.copyDir(src, e, dest)
	}
	// A socket is not copied, and what an archive brings has no number of links.
	if e.Stat.Nlink < 2 || e.Stat.Mode&unix.S_IFMT == unix.S_IFSOCK {
		return c.copyNew(src, e, dest)
	}
	key := inode{e.Stat.Dev, e.Stat.Ino}
	if first, ok := c.links[key]; ok {
		if done, err := c.linkTo(first, dest); done || err != nil {
			return err
		}
	}
	if err := c.copyNew(src, e, dest); err != nil {
		return err
	}
	var st unix.Stat_t
	_, base := SplitDest(dest)
	if err := unix.Fstatat(c.parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: dest, Err: err}
	}
	c.links[key] = linked{dest, inode{st.Dev, st.Ino}}
	return nil
}

// linkTo links dest to an earlier copy, unless something has replaced that copy.
func (c *Copier) linkTo(first linked, dest string) (done bool, err error) {
	fd, err := c.Root.Open(first.path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return false, nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || (inode{st.Dev, st.Ino}) != first.file {
		return false, nil
	}
	dir, base, err := c.parentOf(dest, st.Mtim)
	if err != nil {
		return false, err
	}
	if here := (unix.Stat_t{}); unix.Fstatat(dir, base, &here, unix.AT_SYMLINK_NOFOLLOW) == nil && here.Dev == st.Dev && here.Ino == st.Ino {
		return true, nil // one file is named twice, for the same place
	}
	if err := c.clear(dir, base, dest); err != nil {
		return false, err
	}
	err = linkFD(fd, dir, base, first.path)
	if errors.Is(err, unix.EMLINK) {
		return false, nil // the file system allows no more names: another copy begins
	}
	return true, err
}

// copyNew copies anything but a directory to a new file.
func (c *Copier) copyNew(src *Root, e *Entry, dest string) error {
	switch e.Stat.Mode & unix.S_IFMT {
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

// openDir makes a directory like e and opens it (O_PATH). The one that is copied itself
// is only made where it is missing, and then for the files in it: it is not like e, but
// where the Copier says so.
func (c *Copier) openDir(e *Entry, dest string) (fd int, stays bool, err error) {
	before := len(c.made)
	if fd, err = c.Root.MkdirAll(dest, c.newDirs(e.Stat.Mtim)); err != nil {
		return -1, false, err
	}
	existed := len(c.made) == before
	if e.Rel == "" && (existed || !c.Alike) {
		if !existed && c.Chmod != nil {
			err = unix.Chmod(procPath(fd), c.Chmod.apply(0o755, true))
		}
		if err != nil {
			unix.Close(fd)
			return -1, false, &os.PathError{Op: "chmod", Path: dest, Err: err}
		}
		return fd, existed, nil
	}
	if !existed && e.Rel != "" {
		c.made = c.made[:len(c.made)-1] // restoreDirTimes knows it as well
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

// MakeDest makes the directory for a copy with the time t.
func (c *Copier) MakeDest(dest string, t time.Time) error {
	fd, err := c.Root.MkdirAll(dest, c.newDirs(unix.NsecToTimespec(t.UnixNano())))
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// newDirs is what those directories get that a destination lacks: what the user says of
// the files, as far as it can be true of directories, and nothing of the source. They
// get the time t.
func (c *Copier) newDirs(t unix.Timespec) NewDirs {
	made := NewDirs{Mode: 0o755, made: func(p string) { c.made = append(c.made, madeDir{p, c.notNewer(t)}) }}
	if c.Owner != nil {
		made.Owner = *c.Owner
	}
	if c.Chmod != nil && c.Chmod.isOctal {
		made.Mode = c.Chmod.octal
	}
	return made
}

func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// parentOf opens the directory that dest lies in, making it where it is
// missing, for a file with the time t.
func (c *Copier) parentOf(dest string, t unix.Timespec) (int, string, error) {
	dir, base := SplitDest(dest)
	if c.parent >= 0 && c.parentPath == dir {
		return c.parent, base, nil
	}
	fd, err := c.Root.MkdirAll(dir, c.newDirs(t))
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
	dir, base, err := c.parentOf(dest, e.Stat.Mtim)
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
	dir, base, err := c.parentOf(dest, e.Stat.Mtim)
	if err != nil {
		return err
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
	if err := c.data.Content(to, from, &e.Stat); err != nil {
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

func linkFD(fd, dir int, base, first string) error {
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
	ts := c.notNewer(e.Stat.Mtim)
	return []unix.Timespec{ts, ts}
}

func (c *Copier) notNewer(ts unix.Timespec) unix.Timespec {
	if c.Epoch != nil && ts.Sec > c.Epoch.Unix() {
		return unix.Timespec{Sec: c.Epoch.Unix()}
	}
	return ts
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
	e := &Entry{Stat: unix.Stat_t{Mode: unix.S_IFREG | mode, Mtim: unix.NsecToTimespec(mtime.UnixNano())}}
	return c.writeFile(e, dest, func(f *os.File) error {
		_, err := io.Copy(f, content)
		return err
	})
}

func (c *Copier) writeFile(e *Entry, dest string, fill func(*os.File) error) error {
	dir, base, err := c.parentOf(dest, e.Stat.Mtim)
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
	return c.finish(fd, e, dest, nil)
}
