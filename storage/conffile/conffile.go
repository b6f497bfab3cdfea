// SPDX-License-Identifier: Apache-2.0

// Package conffile refuses configuration files that have gone missing. The
// library takes a file that cannot be found for one that nobody wrote. A
// symbolic link that leads nowhere says otherwise: somebody wrote rules, and
// going on without them would allow what they forbid.
package conffile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.podman.io/storage/pkg/configfile"

	"github.com/proa-containers/proa/pkg/errs"
)

// Policy describes policy.json to the library's search. root is put before
// paths of the system, as in types.SystemContext; empty: nothing is.
func Policy(root string) *configfile.File {
	return &configfile.File{Name: "policy", Extension: "json", DoNotLoadDropInFiles: true,
		EnvironmentName: "CONTAINERS_POLICY_JSON", RootForImplicitAbsolutePaths: root}
}

// Check looks at the files that the library would read for conf. Kind Invalid:
// one of them, or a directory on the way to it, is a link that leads nowhere.
// Files of a lower rank than the first main file that exists do not count.
func Check(conf *configfile.File) error {
	paths, err := configfile.GetSearchPaths(conf)
	if err != nil {
		return err
	}
	for _, f := range paths.MainFiles {
		if f == "" {
			continue
		}
		if err := Exists(f); err != nil {
			return err
		}
		if _, err := os.Stat(f); err == nil {
			break
		}
	}
	for _, dir := range paths.DropInDirectories {
		if err := Exists(dir); err != nil {
			return err
		}
		entries, _ := os.ReadDir(dir) // what cannot be read is the library's to report
		for _, e := range entries {
			if e.Type()&fs.ModeSymlink == 0 || !strings.HasSuffix(e.Name(), "."+conf.Extension) {
				continue
			}
			if err := Exists(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Exists fails where path does not exist because a symbolic link on the way
// leads nowhere. That nothing is there at all is no error.
func Exists(path string) error {
	for p := path; ; p = filepath.Dir(p) {
		fi, err := os.Lstat(p)
		switch {
		case err == nil && fi.Mode()&fs.ModeSymlink != 0:
			if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return dangling(path, p)
		case err == nil, !errors.Is(err, fs.ErrNotExist), p == filepath.Dir(p):
			return nil
		}
	}
}

func dangling(path, link string) error {
	to, _ := os.Readlink(link)
	err := errs.New(errs.Invalid, "cannot read %s: the symbolic link %s leads to %s, which does not exist", path, link, to)
	return errs.WithHint(err,
		"restore the file, or remove the link to do without it")
}
