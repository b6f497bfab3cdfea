// SPDX-License-Identifier: Apache-2.0

package rootmount

import (
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/overlay"
	"github.com/proa-containers/proa/pkg/spec"
)

// Overlay mounts r at dir in this mount namespace.
func Overlay(r spec.Rootfs, dir string) error {
	m := overlay.Mount{Home: r.Home, Lowers: r.Lowers, Upper: r.Upper, Work: r.Work}
	if r.Driver != overlay.FuseDriver {
		return errs.Wrap(m.Kernel(dir), "mount the layers at", dir)
	}
	cmd, started, err := m.Fuse(r.Program, dir, false)
	if err != nil {
		return errs.Wrap(err, "mount the layers at", dir)
	}
	defer started()
	if out, err := cmd.CombinedOutput(); err != nil {
		return errs.New(errs.Internal, "fuse-overlayfs: %v: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
