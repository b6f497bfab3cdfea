// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// zoneLimit is more than any zone file has.
const zoneLimit = 1 << 20

// SetLocaltime makes zone, a file of the host, the container's /etc/localtime. It is
// a copy: images have a link to one of their zone files there, and a mount would
// follow it and change that zone.
func SetLocaltime(root *os.File, zone string, uid, gid int) error {
	err := setLocaltime(root, zone, uid, gid)
	if errors.Is(err, unix.EROFS) {
		return nil // a root without a layer of the container's own
	}
	return errs.Wrap(err, "set the time zone of", zone)
}

func setLocaltime(root *os.File, zone string, uid, gid int) error {
	src, err := os.Open(zone)
	if err != nil {
		return err
	}
	defer src.Close()
	data, err := io.ReadAll(io.LimitReader(src, zoneLimit))
	if err != nil {
		return err
	}
	etc, err := makeDir(root, "/etc")
	if err != nil {
		return err
	}
	defer etc.Close()
	if same(etc, data) {
		return nil
	}
	const name, tmp = "localtime", ".localtime.proa"
	dir := int(etc.Fd())
	_ = unix.Unlinkat(dir, tmp, 0) // of a start that was killed
	fd, err := unix.Openat(dir, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), tmp)
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Chown(uid, gid), f.Close())
	if err == nil {
		err = unix.Renameat(dir, tmp, dir, name)
	}
	if err != nil {
		_ = unix.Unlinkat(dir, tmp, 0)
	}
	return err
}

// same says that localtime in etc is a file with that content already.
func same(etc *os.File, data []byte) bool {
	fd, err := unix.Openat(int(etc.Fd()), "localtime", unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "localtime")
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return false
	}
	now, err := io.ReadAll(io.LimitReader(f, zoneLimit))
	return err == nil && bytes.Equal(now, data)
}
