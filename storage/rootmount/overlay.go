// SPDX-License-Identifier: Apache-2.0

package rootmount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"go.podman.io/storage/pkg/unshare"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// Overlay mounts r at dir in this mount namespace.
func Overlay(r spec.Rootfs, dir string) error {
	var lowers []string
	for _, l := range r.Lowers {
		if !filepath.IsAbs(l) {
			l = filepath.Join(r.Home, l)
		}
		lowers = append(lowers, l)
	}
	opts := []string{"lowerdir=" + strings.Join(lowers, ":")}
	if r.Upper != "" {
		opts = append(opts, "upperdir="+r.Upper, "workdir="+r.Work)
	}
	if r.Driver == "fuse-overlayfs" {
		out, err := exec.Command(r.Program, "-o", strings.Join(opts, ","), dir).CombinedOutput()
		if err != nil {
			return errs.New(errs.Internal, "fuse-overlayfs: %v: %s", err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	if unshare.IsRootless() {
		opts = append(opts, "userxattr")
	}
	text := strings.Join(opts, ",")
	var err error
	if len(text) < os.Getpagesize() {
		err = unix.Mount("overlay", dir, "overlay", 0, text)
	} else {
		// mount(2) takes one page of options; this call takes one at a time.
		err = mountLong(lowers, r, dir)
	}
	return errs.Wrap(err, "mount the layers at", dir)
}

func mountLong(lowers []string, r spec.Rootfs, dir string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	for _, l := range lowers {
		if err := unix.FsconfigSetString(fs, "lowerdir+", l); err != nil {
			return fmt.Errorf("so many layers need Linux 6.5: %w", err)
		}
	}
	if r.Upper != "" {
		err = errors.Join(unix.FsconfigSetString(fs, "upperdir", r.Upper), unix.FsconfigSetString(fs, "workdir", r.Work))
	}
	if unshare.IsRootless() {
		err = errors.Join(err, unix.FsconfigSetFlag(fs, "userxattr"))
	}
	if err != nil {
		return err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(m)
	return unix.MoveMount(m, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
}
