// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// MountView mounts a container's root file system in the caller's mount
// namespace. Read-only, the container may be running: its writable layer is
// then one more lower layer, because the kernel allows an upper directory one
// mount only. Writable, it must not run. release unmounts; calling it twice is
// fine.
func (s *Store) MountView(r spec.Rootfs, writable bool) (dir string, release func() error, err error) {
	o, err := s.begin(false)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			o.end(&err)
		}
	}()
	base, err := os.MkdirTemp(s.tmpDir(), "view-")
	if err != nil {
		return "", nil, err
	}
	if err := mountView(r, base, writable); err != nil {
		_ = os.Remove(base)
		return "", nil, err
	}
	var once sync.Once
	return base, func() (err error) {
		once.Do(func() {
			err = unmount(base, r.Driver)
			if rerr := os.Remove(base); err == nil {
				err = rerr
			}
			o.end(&err)
		})
		return err
	}, nil
}

func mountView(r spec.Rootfs, dir string, writable bool) error {
	if r.Dir != "" {
		if !writable {
			return bindReadOnly(r.Dir, dir)
		}
		return errs.Wrap(unix.Mount(r.Dir, dir, "", unix.MS_BIND|unix.MS_REC, ""), "mount", r.Dir)
	}
	if writable && len(r.Lowers) > 0 {
		return mountOverlay(r, dir)
	}
	if writable {
		return errs.Wrap(unix.Mount(r.Upper, dir, "", unix.MS_BIND, ""), "mount", r.Upper)
	}
	lowers := r.Lowers
	if r.Upper != "" {
		lowers = append([]string{r.Upper}, lowers...)
	}
	if len(lowers) == 1 {
		if !filepath.IsAbs(lowers[0]) {
			lowers[0] = filepath.Join(r.Home, lowers[0])
		}
		return bindReadOnly(lowers[0], dir)
	}
	r.Lowers, r.Upper, r.Work = lowers, "", ""
	return mountOverlay(r, dir)
}
