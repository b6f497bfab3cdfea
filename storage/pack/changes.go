// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
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
// each.
func Changes(upper string, lowers []string) ([]Change, error) {
	c := &comparer{upper: upper, lowers: lowers}
	if err := c.dir("", false); err != nil {
		return nil, err
	}
	slices.SortFunc(c.out, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return c.out, nil
}

type comparer struct {
	upper  string
	lowers []string
	out    []Change
}

func (c *comparer) add(k Kind, name string) { c.out = append(c.out, Change{k, "/" + name}) }

// dir compares one directory of the upper layer; fresh says that no lower layer
// shows anything below it.
func (c *comparer) dir(name string, fresh bool) error {
	ents, err := os.ReadDir(filepath.Join(c.upper, name))
	if err != nil {
		return err
	}
	here := map[string]bool{}
	for _, e := range ents {
		here[e.Name()] = true
		p := filepath.Join(name, e.Name())
		fi, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		below := !fresh && c.visible(p)
		switch {
		case isWhiteout(fi):
			if below {
				c.add(Deleted, p)
			}
			continue
		case below:
			c.add(Changed, p)
		default:
			c.add(Added, p)
		}
		if fi.IsDir() {
			hidden := isOpaque(filepath.Join(c.upper, p))
			if below && hidden {
				c.hide(p)
			}
			if err := c.dir(p, !below || hidden); err != nil {
				return err
			}
		}
	}
	return nil
}

// hide reports what an opaque directory no longer shows.
func (c *comparer) hide(name string) {
	seen := map[string]bool{}
	for _, l := range c.lowers {
		ents, _ := os.ReadDir(filepath.Join(l, name))
		for _, e := range ents {
			p := filepath.Join(name, e.Name())
			if seen[p] || !c.visible(p) {
				continue
			}
			seen[p] = true
			if _, err := os.Lstat(filepath.Join(c.upper, p)); err != nil {
				c.add(Deleted, p)
			}
		}
	}
}

// visible reports whether the lower layers together show a path.
func (c *comparer) visible(name string) bool {
	parts := strings.Split(name, "/")
	for _, l := range c.lowers {
		p := l
		last := false // lower layers are hidden at some directory of the path
		found := true
		for i, part := range parts {
			p += "/" + part
			fi, err := os.Lstat(p)
			if err != nil {
				found = false
				break
			}
			if isWhiteout(fi) {
				return false
			}
			if i < len(parts)-1 {
				if !fi.IsDir() {
					return false
				}
				last = last || isOpaque(p)
			}
		}
		if found || last {
			return found
		}
	}
	return false
}

func isWhiteout(fi os.FileInfo) bool {
	if fi.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Rdev == 0
}

func isOpaque(dir string) bool {
	var b [4]byte
	for _, a := range []string{"user.overlay.opaque", "trusted.overlay.opaque"} {
		if n, err := unix.Lgetxattr(dir, a, b[:]); err == nil && string(b[:n]) == "y" {
			return true
		}
	}
	return false
}
