// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/overlay"
)

// Compare returns what is different in the directory dir from the directory
// old, sorted by path, with the changed parents of each. Both are whole file
// systems, and either may be that of a running container.
func Compare(dir, old string) ([]Change, error) {
	fds := [2]int{-1, -1}
	for i, p := range []string{dir, old} {
		fd, err := unix.Open(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			closeAll(fds[:])
			return nil, &os.PathError{Op: "open", Path: p, Err: err}
		}
		fds[i] = fd
	}
	var t twoTrees
	if err := t.dir(fds[0], fds[1], ""); err != nil {
		return nil, err
	}
	slices.SortFunc(t.out, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return t.out, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

type twoTrees struct{ out []Change }

func (t *twoTrees) add(k Kind, name string) { t.out = append(t.out, Change{k, "/" + name}) }

// dir compares two open directories, which it closes; old is -1 where there is
// none.
func (t *twoTrees) dir(fd, old int, name string) error {
	defer closeAll([]int{fd, old})
	names, err := entries(fd)
	if err != nil {
		return fmt.Errorf("cannot read directory %q: %w", name, err)
	}
	var oldNames []string
	if old >= 0 {
		if oldNames, err = entries(old); err != nil {
			return fmt.Errorf("cannot read directory %q: %w", name, err)
		}
	}
	for _, n := range names {
		_, was := slices.BinarySearch(oldNames, n)
		if err := t.entry(fd, old, was, n, path.Join(name, n)); err != nil {
			return err
		}
	}
	for _, n := range oldNames {
		if _, is := slices.BinarySearch(names, n); !is {
			t.add(Deleted, path.Join(name, n))
		}
	}
	return nil
}

// entries are the sorted names in a directory.
func entries(fd int) ([]string, error) {
	// A descriptor of its own: a file closes the one that it has.
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(d), "")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (t *twoTrees) entry(dir, oldDir int, was bool, base, name string) error {
	var st, old unix.Stat_t
	err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil // gone meanwhile
	}
	if err != nil {
		return &os.PathError{Op: "stat", Path: name, Err: err}
	}
	was = was && unix.Fstatat(oldDir, base, &old, unix.AT_SYMLINK_NOFOLLOW) == nil
	known := true
	switch {
	case !was:
		t.add(Added, name)
	case different(&st, &old) || !sameContent(dir, oldDir, base, &st):
		t.add(Changed, name)
	default:
		known = false
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	fd, err := openEntry(dir, base, name)
	if fd < 0 || err != nil {
		return err
	}
	oldFD := -1
	if was && old.Mode&unix.S_IFMT == unix.S_IFDIR {
		if oldFD, err = openDir(oldDir, base); err != nil {
			oldFD = -1
		}
	}
	before := len(t.out)
	if err := t.dir(fd, oldFD, name); err != nil {
		return err
	}
	if len(t.out) > before && !known {
		t.add(Changed, name)
	}
	return nil
}

// different compares what stat says. The size and the time of a directory
// follow from its entries.
func different(a, b *unix.Stat_t) bool {
	if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Rdev != b.Rdev {
		return true
	}
	return a.Mode&unix.S_IFMT != unix.S_IFDIR && (a.Size != b.Size || !sameTime(a.Mtim, b.Mtim))
}

// sameTime takes a time for the same that an archive has cut off at the second.
func sameTime(a, b unix.Timespec) bool {
	return a.Sec == b.Sec && (a.Nsec == b.Nsec || a.Nsec == 0 || b.Nsec == 0)
}

// sameContent compares what stat does not say and what costs little: where a
// link leads, and the user's attributes.
func sameContent(a, b int, base string, st *unix.Stat_t) bool {
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		x, xerr := readlink(a, base)
		y, yerr := readlink(b, base)
		return xerr == nil && yerr == nil && x == y
	}
	return attributes(a, base) == attributes(b, base)
}

// attributes are the extended attributes of an entry as one text.
func attributes(dir int, base string) string {
	p := "/proc/self/fd/" + strconv.Itoa(dir) + "/" + base
	n, err := unix.Llistxattr(p, nil)
	if err != nil || n == 0 {
		return ""
	}
	list := make([]byte, n)
	if n, err = unix.Llistxattr(p, list); err != nil {
		return ""
	}
	var out []string
	value := make([]byte, 64<<10)
	for _, name := range strings.Split(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if name != "security.capability" && !strings.HasPrefix(name, "user.") || overlay.IsNote(name) {
			continue
		}
		if n, err := unix.Lgetxattr(p, name, value); err == nil {
			out = append(out, name+"\x00"+string(value[:n]))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\x00\x00")
}
