// SPDX-License-Identifier: Apache-2.0

package rootmount

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// The overlay driver gives each layer a short name: ID/link holds it, and l/NAME
// is a symbolic link to ../ID/diff. Lower directories are named by it.

// Mend makes links to layers again that r needs and that are gone: the kernel
// would only say "no such file or directory". A command calls it before it mounts r,
// or has a monitor mount it.
func Mend(r spec.Rootfs) error {
	for _, l := range r.Lowers {
		if filepath.IsAbs(l) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(r.Home, l)); errors.Is(err, fs.ErrNotExist) {
			return errs.Wrap(restoreLinks(r.Home), "mend the short names of layers in", r.Home)
		}
	}
	return nil
}

// restoreLinks makes the links of all layers that lack theirs.
func restoreLinks(home string) error {
	layers, err := os.ReadDir(home)
	if err != nil {
		return err
	}
	dir := filepath.Join(home, "l")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, l := range layers {
		name, err := os.ReadFile(filepath.Join(home, l.Name(), "link"))
		if err != nil || len(name) == 0 {
			continue // no layer, or an unfinished one
		}
		err = os.Symlink(filepath.Join("..", l.Name(), "diff"), filepath.Join(dir, string(name)))
		if err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}
