// SPDX-License-Identifier: Apache-2.0

// Package rmtree deletes directories that a container or an image filled.
//
// os.RemoveAll keeps one descriptor open per level of nesting. Whoever nests
// directories deeper than the limit of open files would make something that
// nothing here could delete again.
package rmtree

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxDepth is how far Remove descends with a descriptor per level.
const maxDepth = 128

// TooDeep says whether err is that of a removal which ran out of descriptors.
func TooDeep(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// tries bounds how often Remove begins anew.
const tries = 10

// Remove deletes path with all that it contains, however deep. As with
// os.RemoveAll a path that does not exist is no error, no link is followed, and
// a second call goes on where the first one failed. What somebody adds
// meanwhile goes as well: a command that looks whether a container is locked may
// make the lock's file again.
func Remove(path string) (err error) {
	for range tries {
		err = os.RemoveAll(path)
		switch {
		case TooDeep(err):
			if err := flatten(path); err != nil {
				return err
			}
		case !errors.Is(err, unix.ENOTEMPTY):
			return err
		}
	}
	return err
}

// flatten moves what lies deeper than maxDepth up into the directory itself.
func flatten(path string) error {
	top, err := openDir(unix.AT_FDCWD, path)
	if err != nil {
		return err
	}
	defer top.Close()
	f := flattener{top: top}
	if err := f.walk(top, 0); err != nil {
		return err
	}
	for done := 0; done < len(f.moved); done++ {
		d, err := openDir(int(top.Fd()), f.moved[done])
		if err != nil {
			return err
		}
		err = f.walk(d, 1)
		d.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

type flattener struct {
	top   *os.File
	next  int
	moved []string // their new names in top
}

func (f *flattener) walk(dir *os.File, depth int) error {
	ents, err := dir.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range ents {
		if !e.IsDir() {
			continue
		}
		if depth == maxDepth {
			if err := f.move(dir, e.Name()); err != nil {
				return err
			}
			continue
		}
		sub, err := openDir(int(dir.Fd()), e.Name())
		if err != nil {
			return err
		}
		err = f.walk(sub, depth+1)
		sub.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// move gives a directory a name in top that is free: whoever filled the tree
// may have taken any.
func (f *flattener) move(dir *os.File, name string) error {
	for {
		to := ".proa-removed-" + strconv.Itoa(f.next)
		f.next++
		err := unix.Renameat2(int(dir.Fd()), name, int(f.top.Fd()), to, unix.RENAME_NOREPLACE)
		switch {
		case err == nil:
			f.moved = append(f.moved, to)
			return nil
		case !errors.Is(err, unix.EEXIST):
			return &os.PathError{Op: "rename", Path: name, Err: err}
		}
	}
}

func openDir(at int, name string) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
