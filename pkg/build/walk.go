// SPDX-License-Identifier: Apache-2.0

package build

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"os"
	"path"
	"sort"
	"strings"

	"github.com/moby/patternmatcher"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// entry is one file that a COPY takes: where it lies and where it goes.
type entry struct {
	path string // below the source root, without a leading slash
	rel  string // below the destination; "" is the copied thing itself
	st   unix.Stat_t
	link string // target of a symbolic link
}

func (e *entry) isDir() bool { return e.st.Mode&unix.S_IFMT == unix.S_IFDIR }

// filter says which files do not count: the ignore file of a context, and
// --exclude patterns. Both may be nil.
type filter struct {
	ignore  *patternmatcher.PatternMatcher
	exclude *patternmatcher.PatternMatcher
}

// walker collects the files below one source path in a fixed order.
type walker struct {
	src     *root
	filter  filter
	entries []entry
}

// add walks top (below the root, links in its parents followed) and appends
// its files with rel as prefix.
func (w *walker) add(top, relPrefix string) error {
	st, err := w.src.lstat(top)
	if err != nil {
		return err
	}
	return w.visit(strings.Trim(top, "/"), relPrefix, st, "", noParents, noParents)
}

var noParents patternmatcher.MatchInfo

// visit handles one file. exclRel is its path below the copied thing, which
// --exclude patterns are matched against.
func (w *walker) visit(p, rel string, st unix.Stat_t, exclRel string, ign, exc patternmatcher.MatchInfo) error {
	ignored, ign, err := match(w.filter.ignore, p, ign)
	if err != nil {
		return err
	}
	excluded, exc, err := match(w.filter.exclude, exclRel, exc)
	if err != nil {
		return err
	}
	skip := ignored || excluded
	e := entry{path: p, rel: rel, st: st}
	if !e.isDir() {
		if skip {
			return nil
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			if e.link, err = w.readlink(p); err != nil {
				return err
			}
		}
		w.entries = append(w.entries, e)
		return nil
	}
	if skip && !w.canReinclude() {
		return nil
	}
	// An ignored directory may hold something that a "!" pattern brings back;
	// it is only made when something is found.
	at := len(w.entries)
	w.entries = append(w.entries, e)
	if err := w.children(p, rel, exclRel, ign, exc); err != nil {
		return err
	}
	if skip && len(w.entries) == at+1 {
		w.entries = w.entries[:at]
	}
	return nil
}

func (w *walker) canReinclude() bool {
	return w.filter.ignore != nil && w.filter.ignore.Exclusions() ||
		w.filter.exclude != nil && w.filter.exclude.Exclusions()
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

func (w *walker) children(p, rel, exclRel string, ign, exc patternmatcher.MatchInfo) error {
	fd, err := w.src.open(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
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
			if errors.Is(err, unix.ENOENT) {
				continue // went away while we looked
			}
			return &os.PathError{Op: "stat", Path: path.Join(p, name), Err: err}
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

func (w *walker) readlink(p string) (string, error) {
	fd, err := w.src.open(p, unix.O_PATH|unix.O_NOFOLLOW)
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

// glob expands the wildcards of a COPY source below the root. Without any it
// is the path itself, with links in the last component followed.
func (w *walker) glob(pattern string) ([]string, error) {
	clean := strings.Trim(path.Clean("/"+pattern), "/")
	if !strings.ContainsAny(clean, `*?[\`) {
		if clean == "" {
			return []string{""}, nil
		}
		if _, err := w.src.lstat(clean); err != nil {
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
		ignored, _, err := w.matchWithParents(p)
		if err != nil {
			return nil, err
		}
		if !ignored || w.canReinclude() {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

func (w *walker) matchWithParents(p string) (bool, patternmatcher.MatchInfo, error) {
	info := noParents
	ok := false
	for i := 0; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		var err error
		if ok, info, err = match(w.filter.ignore, p[:i], info); err != nil {
			return false, info, err
		}
	}
	return ok, info, nil
}

func (w *walker) matchIn(dir, part string) ([]string, error) {
	if part == "**" {
		return w.allBelow(dir)
	}
	fd, err := w.src.open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
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

// allBelow is dir itself and every directory under it, for "**".
func (w *walker) allBelow(dir string) ([]string, error) {
	sub := walker{src: w.src}
	if err := sub.add(dir, ""); err != nil {
		return nil, err
	}
	var out []string
	for i := range sub.entries {
		if sub.entries[i].isDir() {
			out = append(out, sub.entries[i].path)
		}
	}
	return out, nil
}

// digest hashes what the entries are: names, types, modes, contents. Times do
// not count, as in Docker; owners count where they are kept.
func (w *walker) digest(h hash.Hash, owners bool) error {
	buf := make([]byte, 128<<10)
	for i := range w.entries {
		e := &w.entries[i]
		fmt.Fprintf(h, "%q %o", e.rel, e.st.Mode)
		if owners {
			fmt.Fprintf(h, " %d:%d", e.st.Uid, e.st.Gid)
		}
		switch e.st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			sum, err := w.fileDigest(e, buf)
			if err != nil {
				return err
			}
			h.Write(sum)
		case unix.S_IFLNK:
			fmt.Fprintf(h, " %q", e.link)
		case unix.S_IFCHR, unix.S_IFBLK:
			_ = binary.Write(h, binary.LittleEndian, e.st.Rdev) // a hash never fails
		}
		h.Write([]byte{'\n'})
	}
	return nil
}

// fileDigest hashes a file's content as the buffer brings it.
func (w *walker) fileDigest(e *entry, buf []byte) ([]byte, error) {
	fd, err := w.src.open(e.path, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	h := sha256.New()
	for done := int64(0); ; {
		n, err := readSome(fd, buf)
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: e.path, Err: err}
		}
		h.Write(buf[:n])
		// Known to be complete: no need to ask for the end.
		if done += int64(n); n == 0 || done == e.st.Size {
			return h.Sum(nil), nil
		}
	}
}
