// SPDX-License-Identifier: Apache-2.0

package files

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"

	"github.com/moby/patternmatcher"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/sparse"
)

// Entry is one file that a COPY takes: where it lies and where it goes.
type Entry struct {
	Path string // below the source root, without a leading slash
	Rel  string // below the destination; "" is the copied thing itself
	Stat unix.Stat_t
	Link string // target of a symbolic link
}

func (e *Entry) isDir() bool { return e.Stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// Filter says which files do not count: the ignore file of a context, --exclude patterns,
// and one directory that is never part of a context. All may be nil.
type Filter struct {
	Ignore  *patternmatcher.PatternMatcher
	Exclude *patternmatcher.PatternMatcher
	Hide    *Dir
}

// Dir is a directory, whatever its name is.
type Dir struct{ dev, ino uint64 }

// FindDir returns the directory of that name, or nil if there is none.
func FindDir(name string) *Dir {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	return &Dir{st.Dev, st.Ino}
}

// Is says whether st is that of the directory.
func (d *Dir) Is(st *unix.Stat_t) bool {
	return d != nil && st.Ino == d.ino && st.Dev == d.dev && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// Walker collects the files below one source path in a fixed order.
type Walker struct {
	Root    *Root
	Filter  Filter
	Entries []Entry
	// Denied: a directory that cannot be read counts as empty; else it is an error.
	Denied bool
}

// Add walks top (below the root, links in its parents followed) and appends
// its files with rel as prefix.
func (w *Walker) Add(top, relPrefix string) error { return w.AddNamed(top, relPrefix, "") }

// AddNamed is Add where --exclude patterns see top as name, and what is below it
// accordingly. Without a name they see only what is below.
func (w *Walker) AddNamed(top, relPrefix, name string) error {
	st, err := w.Root.Lstat(top)
	if err != nil {
		return err
	}
	exc := noParents
	for i := range name {
		if name[i] == '/' {
			if _, exc, err = match(w.Filter.Exclude, name[:i], exc); err != nil {
				return err
			}
		}
	}
	return w.visit(strings.Trim(top, "/"), relPrefix, st, name, noParents, exc)
}

var noParents patternmatcher.MatchInfo

// visit handles one file. exclRel is its path below the copied thing, which
// --exclude patterns are matched against.
func (w *Walker) visit(p, rel string, st unix.Stat_t, exclRel string, ign, exc patternmatcher.MatchInfo) error {
	ignored, ign, err := match(w.Filter.Ignore, p, ign)
	if err != nil {
		return err
	}
	excluded, exc, err := match(w.Filter.Exclude, exclRel, exc)
	if err != nil {
		return err
	}
	skip := ignored || excluded
	e := Entry{Path: p, Rel: rel, Stat: st}
	if !e.isDir() {
		if skip {
			return nil
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			if e.Link, err = w.readlink(p); err != nil {
				return err
			}
		}
		w.Entries = append(w.Entries, e)
		return nil
	}
	if skip && !w.CanReinclude() {
		return nil
	}
	// An ignored directory may hold something that a "!" pattern brings back;
	// it is only made when something is found.
	at := len(w.Entries)
	w.Entries = append(w.Entries, e)
	// Nobody asked for what is in an ignored directory.
	unread := w.Denied || ignored && !w.namesBelow(p)
	if err := w.children(p, rel, exclRel, ign, exc, unread); err != nil {
		return err
	}
	if skip && len(w.Entries) == at+1 {
		w.Entries = w.Entries[:at]
	}
	return nil
}

// CanReinclude says whether something below what is left out may count all the
// same: a pattern begins with "!".
func (w *Walker) CanReinclude() bool {
	return w.Filter.Ignore != nil && w.Filter.Ignore.Exclusions() ||
		w.Filter.Exclude != nil && w.Filter.Exclude.Exclusions()
}

// namesBelow reports whether a "!" pattern of the ignore file begins with the directory p.
func (w *Walker) namesBelow(p string) bool {
	for _, one := range w.Filter.Ignore.Patterns() {
		if one.Exclusion() && strings.HasPrefix(one.String()+"/", p+"/") {
			return true
		}
	}
	return false
}

func match(pm *patternmatcher.PatternMatcher, p string, parent patternmatcher.MatchInfo) (bool, patternmatcher.MatchInfo, error) {
	if pm == nil || p == "" || p == "." {
		return false, noParents, nil
	}
	ok, info, err := pm.MatchesUsingParentResults(p, parent)
	if err != nil {
		return false, info, errs.New(errs.Invalid, "bad ignore pattern: %v", err)
	}
	return ok, info, nil
}

// children visits what is in a directory. With unread it may be closed to the user.
func (w *Walker) children(p, rel, exclRel string, ign, exc patternmatcher.MatchInfo, unread bool) error {
	fd, err := w.Root.Open(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if unread && errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), p)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	sort.Strings(names)
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			if errors.Is(err, unix.ENOENT) || unread && errors.Is(err, fs.ErrPermission) {
				continue // it went away while we looked, or the directory is closed
			}
			return &os.PathError{Op: "stat", Path: path.Join(p, name), Err: err}
		}
		if w.Filter.Hide.Is(&st) {
			continue
		}
		if err := w.visit(joinRel(p, name), joinRel(rel, name), st, joinRel(exclRel, name), ign, exc); err != nil {
			return err
		}
	}
	return nil
}

func joinRel(dir, name string) string {
	if dir == "" || dir == "." {
		return name
	}
	return dir + "/" + name
}

func (w *Walker) readlink(p string) (string, error) {
	fd, err := w.Root.Open(p, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: p, Err: err}
	}
	return string(buf[:n]), nil
}

// Glob expands the wildcards of a COPY source below the root. Without any it
// is the path itself, with links in the last component followed.
func (w *Walker) Glob(pattern string) ([]string, error) {
	clean := strings.Trim(path.Clean("/"+pattern), "/")
	if !strings.ContainsAny(clean, `*?[\`) {
		if clean == "" {
			return []string{""}, nil
		}
		if _, err := w.Root.Lstat(clean); err != nil {
			return nil, nil
		}
		return []string{clean}, nil
	}
	found := []string{""}
	for _, part := range strings.Split(clean, "/") {
		var next []string
		for _, dir := range found {
			names, err := w.matchIn(dir, part)
			if err != nil {
				return nil, err
			}
			next = append(next, names...)
		}
		found = next
	}
	kept := found[:0]
	for _, p := range found {
		ignored, err := w.Ignored(p)
		if err != nil {
			return nil, err
		}
		if !ignored || w.CanReinclude() {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

// Ignored says whether the ignore file leaves p out, by itself or by one of its
// parents.
func (w *Walker) Ignored(p string) (bool, error) {
	info := noParents
	ok := false
	for i := 0; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		var err error
		if ok, info, err = match(w.Filter.Ignore, p[:i], info); err != nil {
			return false, err
		}
	}
	return ok, nil
}

func (w *Walker) matchIn(dir, part string) ([]string, error) {
	if part == "**" {
		return w.allBelow(dir)
	}
	fd, err := w.Root.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, nil // not a directory: nothing matches below it
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var out []string
	for _, n := range names {
		ok, err := path.Match(part, n)
		if err != nil {
			return nil, errs.New(errs.Invalid, "bad wildcard %q: %v", part, err)
		}
		if ok {
			out = append(out, joinRel(dir, n))
		}
	}
	return out, nil
}

// allBelow is dir itself and every directory under it, for "**", without what the ignore
// file leaves out.
func (w *Walker) allBelow(dir string) ([]string, error) {
	sub := Walker{Root: w.Root, Filter: Filter{Ignore: w.Filter.Ignore, Hide: w.Filter.Hide}}
	if err := sub.Add(dir, ""); err != nil {
		return nil, err
	}
	var out []string
	for i := range sub.Entries {
		if sub.Entries[i].isDir() {
			out = append(out, sub.Entries[i].Path)
		}
	}
	return out, nil
}

// Digest hashes what the entries are: names, types, modes, contents. Times do
// not count, as in Docker; owners and extended attributes count where they are kept.
func (w *Walker) Digest(h hash.Hash, kept bool) error {
	buf := make([]byte, 128<<10)
	for i := range w.Entries {
		e := &w.Entries[i]
		fmt.Fprintf(h, "%q %o", e.Rel, e.Stat.Mode)
		if kept {
			fmt.Fprintf(h, " %d:%d", e.Stat.Uid, e.Stat.Gid)
			if err := w.xattrDigest(h, e); err != nil {
				return err
			}
		}
		switch e.Stat.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			sum, err := w.fileDigest(e, buf)
			if err != nil {
				return err
			}
			h.Write(sum)
		case unix.S_IFLNK:
			fmt.Fprintf(h, " %q", e.Link)
		case unix.S_IFCHR, unix.S_IFBLK:
			_ = binary.Write(h, binary.LittleEndian, e.Stat.Rdev) // a hash never fails
		}
		h.Write([]byte{'\n'})
	}
	return nil
}

// xattrDigest adds those extended attributes that a copy has.
func (w *Walker) xattrDigest(h hash.Hash, e *Entry) error {
	if !hasXattrs(e) {
		return nil
	}
	fd, err := w.Root.Open(e.Path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, x := range xattrsOf(fd) {
		fmt.Fprintf(h, " %q=%q", x.name, x.value)
	}
	return nil
}

// fileDigest hashes a file's content as the buffer brings it.
func (w *Walker) fileDigest(e *Entry, buf []byte) ([]byte, error) {
	fd, err := w.Root.Open(e.Path, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	h := sha256.New()
	for done := int64(0); ; {
		n, err := sparse.Read(fd, buf)
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: e.Path, Err: err}
		}
		h.Write(buf[:n])
		// Known to be complete: no need to ask for the end.
		if done += int64(n); n == 0 || done == e.Stat.Size {
			return h.Sum(nil), nil
		}
	}
}
