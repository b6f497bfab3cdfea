// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"

	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/spec"
)

// stubTargets are made in every container's root by its start: the runtime's
// mount points and the marks of a container. They belong into no layer.
var stubTargets = append([]string{"/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}, spec.Markers...)

// missingTargets are the mount points, and their parents, that the image does
// not have: the deepest first.
func missingTargets(sc engine.Scratch, mounts []spec.Mount) ([]string, error) {
	targets := slices.Clone(stubTargets)
	for _, m := range mounts {
		targets = append(targets, m.Target)
	}
	merged, err := sc.Merged()
	if err != nil {
		return nil, err
	}
	r, err := files.OpenRoot(merged)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, t := range targets {
		for p := path.Clean(t); p != "/" && p != "."; p = path.Dir(p) {
			if _, err := r.Lstat(p); err != nil && !slices.Contains(missing, p) {
				missing = append(missing, p)
			}
		}
	}
	sort.Slice(missing, func(i, j int) bool { return len(missing[i]) > len(missing[j]) })
	return missing, errors.Join(r.Close(), sc.Unmount())
}

// removeStubs removes what is still an empty file or directory, or the link that
// a start makes: anything else was made by the command itself.
func removeStubs(upper string, stubs []string) error {
	r, err := files.OpenRoot(upper)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, p := range stubs {
		if st, err := r.Lstat(p); err != nil || st.Mode&0o170000 == 0o100000 && st.Size != 0 {
			continue
		}
		dir, base := files.SplitDest(p)
		parent, err := r.ResolveDir(dir)
		if err != nil {
			continue
		}
		if target, err := os.Readlink(filepath.Join(parent, base)); err == nil && (p != spec.MtabPath || target != spec.MtabTarget) {
			continue
		}
		_ = os.Remove(filepath.Join(parent, base)) // fails, rightly, on a directory that has something in it
	}
	return nil
}
