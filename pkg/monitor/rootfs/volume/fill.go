// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/failpoint"
	"github.com/proa-containers/proa/pkg/filelock"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rmtree"
)

// A copy-up happens beside the volume, where no container sees it, and moves
// into the volume when it is complete:
//
//	volumes/NAME/           locked meanwhile: two containers may start at once
//	  _data                 the volume: what containers have mounted
//	  copy-up/partial       a copy under way; worth nothing after a kill
//	  copy-up/whole         a complete copy, whose entries move to _data
//
// A monitor that is killed leaves one of the two behind. The next container
// that has the volume removes the first, and finishes with the second.
const (
	workName    = "copy-up"
	partialName = "partial"
	wholeName   = "whole"
)

// fill copies what the image has at a volume's place into a volume that is
// still empty, as Docker does, where v asks for it.
func fill(root *os.File, v monitor.VolumeMount) error {
	var src *os.File
	if v.CopyUp {
		var err error
		if src, err = openDirIn(root, v.Target); err != nil {
			return err
		}
	}
	dir, err := os.OpenFile(v.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	if src == nil {
		// Nothing to do, unless somebody else's copy was interrupted.
		if unix.Faccessat(int(dir.Fd()), workName, unix.F_OK, 0) != nil {
			return nil
		}
	} else {
		defer src.Close()
	}
	// The lock is not in the volume: a container could hold it there for ever.
	if err := filelock.Flock(dir, unix.LOCK_EX); err != nil {
		return err
	}
	data, err := os.OpenFile(v.HostPath, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer data.Close()
	if err := finish(dir, data); err != nil || src == nil {
		return err
	}
	if _, err := data.Readdirnames(1); !errors.Is(err, io.EOF) {
		return err // not empty (nil), or unreadable
	}
	return copyUp(src, dir, data)
}

// openDirIn opens a directory of the image; nil where there is none.
func openDirIn(root *os.File, name string) (*os.File, error) {
	h, err := pathrs.OpenatInRoot(root, name)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer h.Close()
	if st, err := h.Stat(); err != nil || !st.IsDir() {
		return nil, err
	}
	return pathrs.Reopen(h, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
}

// copyUp copies src to data by way of the work directory in dir.
func copyUp(src, dir, data *os.File) (err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return err
	}
	names, err := src.Readdirnames(-1)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return setMeta(int(src.Fd()), int(data.Fd()), &st)
	}
	if err := unix.Mkdirat(int(dir.Fd()), workName, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: workName, Err: err}
	}
	defer func() {
		if err != nil {
			_ = removeWork(dir)
		}
	}()
	if err := copyWhole(src, dir, names, &st); err != nil {
		return err
	}
	if err := failpoint.Hit(FailpointCopied); err != nil {
		return err
	}
	return finish(dir, data)
}

// copyWhole makes a complete copy of src in the work directory.
func copyWhole(src, dir *os.File, names []string, st *unix.Stat_t) error {
	work, err := openat(int(dir.Fd()), workName, dirFlags, 0)
	if err != nil {
		return err
	}
	defer work.Close()
	if err := unix.Mkdirat(int(work.Fd()), partialName, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: partialName, Err: err}
	}
	dst, err := openat(int(work.Fd()), partialName, dirFlags, 0)
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := failpoint.Hit(FailpointCopying); err != nil {
		return err
	}
	c := treeCopy{links: map[[2]uint64]string{}, base: int(dst.Fd())}
	if err := c.entries(src, dst, names, ""); err != nil {
		return err
	}
	if err := setMeta(int(src.Fd()), int(dst.Fd()), st); err != nil {
		return err
	}
	return os.NewSyscallError("rename", unix.Renameat(int(work.Fd()), partialName, int(work.Fd()), wholeName))
}

// finish moves a complete copy into the volume, and removes what is left of it
// or of an incomplete one.
func finish(dir, data *os.File) error {
	work, err := openat(int(dir.Fd()), workName, dirFlags, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer work.Close()
	whole, err := openat(int(work.Fd()), wholeName, dirFlags, 0)
	switch {
	case err == nil:
		defer whole.Close()
		if err := moveEntries(whole, data); err != nil {
			return err
		}
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	return removeWork(dir)
}

func removeWork(dir *os.File) error {
	return rmtree.Remove(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), workName))
}

// moveEntries moves all of from to the volume to, and gives that from's owner,
// mode and times. What a running container has made there by now stays.
func moveEntries(from, to *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return err
	}
	names, err := from.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := move(int(from.Fd()), int(to.Fd()), name); err != nil {
			return err
		}
		if err := failpoint.Hit(FailpointMoving); err != nil {
			return err
		}
	}
	return setMeta(int(from.Fd()), int(to.Fd()), &st)
}

func move(from, to int, name string) error {
	err := unix.Renameat2(from, name, to, name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) {
		// A file system without that flag.
		var st unix.Stat_t
		if err = unix.Fstatat(to, name, &st, unix.AT_SYMLINK_NOFOLLOW); errors.Is(err, unix.ENOENT) {
			err = unix.Renameat(from, name, to, name)
		}
	}
	switch {
	case err == nil, errors.Is(err, unix.EEXIST):
		return nil
	case errors.Is(err, unix.EXDEV):
		return errs.WithHint(errs.New(errs.Unsupported, "_data is on another file system than the volume's directory"),
			"move the whole directory of the volume there, or mount the volume with the option nocopy")
	}
	return &os.PathError{Op: "move", Path: name, Err: err}
}
