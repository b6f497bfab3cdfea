// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"os"
	"path"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/spec"
)

// Mark makes the files that tell a program that it is in a container, owned by
// uid and gid, where the image has none. A name that is there, whatever it is,
// stays. It is a service to programs: a root that cannot be written to has none.
func Mark(root *os.File, uid, gid int) {
	for _, p := range spec.Markers {
		dir, name := path.Split(p)
		if dir == "/" {
			mark(root, name, uid, gid)
			continue
		}
		h, err := makeDir(root, path.Clean(dir))
		if err != nil {
			continue
		}
		if p == spec.MtabPath {
			if unix.Symlinkat(spec.MtabTarget, int(h.Fd()), name) == nil {
				own(h, name, uid, gid)
			}
		} else {
			mark(h, name, uid, gid)
		}
		h.Close()
	}
}

// makeDir opens a directory, which nearly always is there: that costs one call.
func makeDir(root *os.File, dir string) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if fd, err := unix.Openat2(int(root.Fd()), dir, &how); err == nil {
		return os.NewFile(uintptr(fd), dir), nil
	}
	return pathrs.MkdirAllHandle(root, dir, 0o755)
}

// mark makes an empty file. No link in the place of it is followed.
func mark(dir *os.File, name string, uid, gid int) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return
	}
	_ = unix.Close(fd)
	own(dir, name, uid, gid)
}

// own gives a new file its owner, where that is not the one that it has.
func own(dir *os.File, name string, uid, gid int) {
	if uid != 0 || gid != 0 {
		_ = unix.Fchownat(int(dir.Fd()), name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	}
}
