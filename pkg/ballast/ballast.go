// SPDX-License-Identifier: Apache-2.0

// Package ballast keeps some room on the user's file system for those who make
// room. On a full disk nothing could be removed otherwise: a removal has to
// record what it does, and the store of images writes its lists anew.
//
// The room is a file whose blocks are allocated. It is given up where a removal
// finds the file system full, or the user's quota used up, and laid aside again
// by a later command once there is plenty. Whoever adds something does not get
// it.
package ballast

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	file = "reserve" // in the data directory
	// most is room for some hundred records and for the lists of a thousand
	// layers.
	most = 2 << 20
	// least is what a single removal may need. Less is not worth a file.
	least = 128 << 10
	// share: a small file system is not filled by what keeps it usable.
	share = 32
)

// Full reports whether err says that a file system is full, or a quota used up.
func Full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// Ensure lays the room aside where it is missing, or smaller than it could be,
// and there is plenty: a part of what is free. Failing is no error: a disk on
// which this fails may still do. It costs one lstat as a rule, and never waits
// for the disk.
func Ensure(dir string) {
	path := filepath.Join(dir, file)
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err == nil && (st.Size >= most || st.Mode&unix.S_IFMT != unix.S_IFREG) {
		return
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return
	}
	size := min(int64(fs.Bavail)*fs.Bsize/share, most)
	if size < least || size < 2*st.Size && size < most { // not a bit more each time
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if allocate(f, size) != nil {
		_ = os.Remove(path) // it may be what filled the disk
	}
}

// allocate takes blocks for f. File systems that cannot do so get bytes that they
// cannot compress.
func allocate(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	for errors.Is(err, unix.EINTR) {
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = io.CopyN(f, rand.Reader, size)
	}
	return err
}

// Release gives the room up, and reports whether there was any.
func Release(dir string) bool { return os.Remove(filepath.Join(dir, file)) == nil }

// Retry runs do, and once more with the room given up where the file system is
// full. dir is the data directory.
func Retry(dir string, do func() error) error {
	err := do()
	if !Full(err) {
		return err
	}
	Release(dir) // if another command has just done so, that will do as well
	return do()
}

// MakeRoom gives the room up if the file system has hardly any other: for
// removals of many steps, which one cannot simply try again.
func MakeRoom(dir string) {
	if _, err := os.Lstat(filepath.Join(dir, file)); err != nil {
		return
	}
	// A try also knows of quotas.
	f, err := os.OpenFile(dir, os.O_WRONLY|unix.O_TMPFILE, 0o600)
	if err == nil {
		err = allocate(f, most)
		f.Close()
	}
	if Full(err) {
		Release(dir)
	}
}
