// SPDX-License-Identifier: Apache-2.0

// Package atomicfile replaces files so that a reader, or a machine that lost
// its power, sees the old content or the new one, never a part. Every durable
// file that is not in the database is written through it.
package atomicfile

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Durability says what a write survives.
type Durability int

const (
	// Volatile content survives the death of every process but perhaps not a
	// power loss; no fsync is made. For tmpfs and for what can be made again.
	Volatile Durability = iota
	// Durable content is on disk before the new name is visible, and so is
	// the name when the call returns.
	Durable
)

const tempMark = ".proa-tmp-"

// Write makes data the content of path with exactly the permissions mode
// (whatever the umask). On an error path is untouched and nothing is left
// behind. A symbolic link at path is replaced, not followed.
func Write(path string, data []byte, mode fs.FileMode, d Durability) error {
	f, err := Create(path, mode, d)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return f.Commit()
}

// WriteJSON makes the JSON text of v, and a line feed, the content of path.
func WriteJSON(path string, v any, mode fs.FileMode, d Durability) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return Write(path, append(data, '\n'), mode, d)
}

// File is content on its way to a path. Write to it, then Commit; defer Abort,
// which does nothing after Commit.
type File struct {
	*os.File
	path string
	dir  *os.File // only with Durable
	done bool
}

// Create starts a replacement of path. The temporary file lies in the same
// directory, which must exist.
func Create(path string, mode fs.FileMode, d Durability) (*File, error) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	if base == "" || base == "." || base == ".." {
		return nil, fmt.Errorf("cannot write %s: not a file name", path)
	}
	f := &File{path: path}
	var err error
	if d == Durable {
		// Opened first: past the rename nothing may fail the call.
		if f.dir, err = os.Open(dir); err != nil {
			return nil, fmt.Errorf("cannot write %s: %w", path, err)
		}
	}
	if f.File, err = os.CreateTemp(dir, "."+shorten(base)+tempMark+"*"); err == nil {
		if err = f.Chmod(mode.Perm()); err == nil {
			return f, nil
		}
	}
	f.Abort()
	return nil, fmt.Errorf("cannot write %s: %w", path, err)
}

// shorten keeps the temporary name within the 255 bytes of a file name.
func shorten(base string) string {
	const room = 255 - 1 - len(tempMark) - 10
	if len(base) > room {
		return base[:room]
	}
	return base
}

// Commit makes the content visible under the path and closes the file. When it
// fails the path is untouched and the temporary file is gone.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("cannot write %s: %w", f.path, os.ErrClosed)
	}
	defer f.Abort()
	if f.dir != nil {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("cannot write %s: %w", f.path, err)
		}
	}
	// Close before the rename: on NFS and over quota it is close that fails.
	if err := f.File.Close(); err != nil {
		return fmt.Errorf("cannot write %s: %w", f.path, err)
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return fmt.Errorf("cannot write %s: %w", f.path, err)
	}
	f.done = true
	if f.dir != nil {
		// The new content is already what everybody sees, so a failure here
		// cannot be turned into "not written" any more.
		_ = f.dir.Sync()
		_ = f.dir.Close()
	}
	return nil
}

// Abort forgets the replacement. It is safe to call more than once and after
// Commit.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	if f.File != nil {
		_ = f.File.Close()
		_ = os.Remove(f.Name())
	}
	if f.dir != nil {
		_ = f.dir.Close()
	}
}

// IsTemp reports whether name is that of a temporary file of this package,
// left by a writer that was killed (or still at work).
func IsTemp(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, tempMark)
}
