// SPDX-License-Identifier: Apache-2.0

package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Output makes what write writes the content of path: all of it, or on an error
// path is untouched and nothing is left behind. A link stays, what it points to
// is replaced and keeps its permissions; a new file gets mode. A device or a
// pipe is written as it is. Several may do so at once: the last one wins. What a
// killed one left beside path goes with the next call.
func Output(path string, mode fs.FileMode, write func(io.Writer) error) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	switch fi, err := os.Stat(path); {
	case err == nil && !fi.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	case err == nil:
		mode = fi.Mode().Perm()
		if err := unix.Access(path, unix.W_OK); err != nil {
			return &fs.PathError{Op: "open", Path: path, Err: err} // renaming would not mind
		}
	}
	f, unlock, err := createLocked(path, mode)
	if err != nil {
		return err
	}
	defer unlock()
	defer f.Abort()
	sweep(path)
	if err := write(f); err != nil {
		return err
	}
	return f.Commit()
}

// createLocked is Create with a lock on the file until unlock: a file without is
// left over. Where there are no locks there is no sweep either.
func createLocked(path string, mode fs.FileMode) (f *File, unlock func(), err error) {
	for range 100 {
		f, err := Create(path, mode, Volatile)
		var pe *fs.PathError
		if errors.As(err, &pe) {
			return nil, nil, fmt.Errorf("cannot write %s: %w", path, pe.Err) // without the temporary name
		}
		if err != nil {
			return nil, nil, err
		}
		// A copy of the descriptor: Commit closes its own before the rename.
		lock, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			f.Abort()
			return nil, nil, fmt.Errorf("cannot write %s: %w", path, err)
		}
		unlock = func() { _ = unix.Close(lock) }
		for unix.Flock(lock, unix.LOCK_EX) == unix.EINTR { // a sweep has it for a moment only
		}
		var held, named unix.Stat_t
		if err := errors.Join(unix.Fstat(lock, &held), unix.Lstat(f.Name(), &named)); err == nil && held.Ino == named.Ino {
			return f, unlock, nil
		}
		f.Abort() // it was swept before it was locked
		unlock()
	}
	return nil, nil, fmt.Errorf("cannot write %s: its temporary files are removed again and again", path)
}

// sweep removes what killed writers left beside path.
func sweep(path string) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // a directory that may only be written
	}
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasPrefix(e.Name(), "."+shorten(base)+tempMark) {
			removeUnlocked(filepath.Join(dir, e.Name()))
		}
	}
}

func removeUnlocked(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.Remove(path) // failing, it stays for the next one
	}
}
