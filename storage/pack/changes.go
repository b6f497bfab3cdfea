// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/overlay"
)

// Kind says what happened to a path, as Docker writes it.
type Kind byte

const (
	Changed Kind = 'C'
	Added   Kind = 'A'
	Deleted Kind = 'D'
)

// Change is one line of `diff`.
type Change struct {
	Kind Kind
	Path string // absolute inside the container
}

func (c Change) String() string { return fmt.Sprintf("%c %s", c.Kind, c.Path) }

// Changes compares an overlay's upper directory with its lower ones (topmost
// first) and returns the changes sorted by path, with the changed parents of
// each. fuse says that fuse-overlayfs wrote the upper directory.
func Changes(upper string, lowers []string, fuse bool) ([]Change, error) {
	fd, err := unix.Open(upper, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: upper, Err: err}
	}
	c := &comparer{fuse: fuse}
	if err := c.dir(fd, "", lowers); err != nil {
		return nil, err
	}
	slices.SortFunc(c.out, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return c.out, nil
}

// comparer walks the upper directory by descriptor: its container may exchange
// a directory for a link at any moment. The lower directories never change, so
// their paths will do, as long as each part of one was looked at.
type comparer struct {
	fuse bool
	out  []Change
}

func (c *comparer) add(k Kind, name string) { c.out = append(c.out, Change{k, "/" + name}) }

// dir compares an open directory of the upper layer, which it closes, with those
// of the lower layers that show something in it.
func (c *comparer) dir(fd int, name string, lowers []string) error {
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("cannot read directory %q: %w", name, err)
	}
	if len(lowers) > 0 && c.opaque(fd, names) {
		c.hide(fd, name, lowers)
		lowers = nil
	}
	for _, n := range names {
		if err := c.entry(fd, n, path.Join(name, n), lowers); err != nil {
			return err
		}
	}
	return nil
}

// opaque says whether the directory shows nothing of lower layers.
func (c *comparer) opaque(fd int, names []string) bool {
	return overlay.HasOpaque(fd, c.fuse) || c.fuse && slices.ContainsFunc(names, func(n string) bool {
		m, _ := overlay.MarkName(n)
		return m == overlay.Opaque
	})
}

func (c *comparer) entry(dir int, base, name string, lowers []string) error {
	var st unix.Stat_t
	err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil // gone meanwhile
	}
	if err != nil {
		return &os.PathError{Op: "stat", Path: name, Err: err}
	}
	m, hidden := overlay.MarkOf(base, &st, c.fuse)
	if m == overlay.Whiteout {
		base, name = hidden, path.Join(path.Dir(name), hidden)
	}
	below, further := c.lookup(lowers, base)
	switch {
	case m == overlay.Whiteout && below:
		c.add(Deleted, name)
		return nil
	case m != overlay.None:
		return nil
	case below:
		c.add(Changed, name)
	default:
		c.add(Added, name)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	fd, err := openEntry(dir, base, name)
	if fd < 0 || err != nil {
		return err
	}
	return c.dir(fd, name, further)
}

// hide reports what an opaque directory no longer shows.
func (c *comparer) hide(fd int, name string, lowers []string) {
	seen := map[string]bool{}
	for _, l := range lowers {
		ents, _ := os.ReadDir(l)
		for _, e := range ents {
			n := e.Name()
			if seen[n] {
				continue
			}
			seen[n] = true
			var st unix.Stat_t
			if below, _ := c.lookup(lowers, n); below && unix.Fstatat(fd, n, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				c.add(Deleted, path.Join(name, n))
			}
		}
	}
}

// lookup reports whether the lower directories together show base, and returns
// those of them that show something in the directory of that name.
func (c *comparer) lookup(lowers []string, base string) (found bool, further []string) {
	for _, l := range lowers {
		p := l + "/" + base
		var st unix.Stat_t
		if c.fuse && unix.Lstat(l+"/"+overlay.Prefix+base, &st) == nil {
			return found, further
		}
		if unix.Lstat(p, &st) != nil {
			continue
		}
		if m, _ := overlay.MarkOf(base, &st, c.fuse); m != overlay.None {
			return found, further
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return true, further // it hides what lies below it
		}
		found, further = true, append(further, p)
		if c.endsAt(p) {
			return found, further
		}
	}
	return found, further
}

// endsAt says whether a lower directory hides those below it.
func (c *comparer) endsAt(dir string) bool {
	fd, err := openDir(unix.AT_FDCWD, dir)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return overlay.HasOpaque(fd, c.fuse) ||
		c.fuse && unix.Fstatat(fd, overlay.OpaqueName, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// openEntry opens the directory base that was just seen in dir; name is its path, for
// messages. -1: it is no directory any more.
func openEntry(dir int, base, name string) (int, error) {
	fd, err := openDir(dir, base)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return -1, nil
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

func openDir(at int, name string) (int, error) {
	return unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}
