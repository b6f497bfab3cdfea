// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"os"
	"path/filepath"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// abs makes a path of the command line absolute.
func (a *app) abs(p string) (string, error) { return spec.FromDir(a.std.Dir, p) }

// absolute makes those paths absolute that are given: not empty.
func (a *app) absolute(paths ...*string) error {
	for _, p := range paths {
		if *p == "" {
			continue
		}
		var err error
		if *p, err = a.abs(*p); err != nil {
			return err
		}
	}
	return nil
}

// readFile reads a file named on the command line; - is standard input.
func (a *app) readFile(name string) ([]byte, error) {
	path, err := a.abs(name)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, &errs.Error{Kind: errs.NotFound, Err: err, Hint: "check the path: it starts at the current directory"}
	}
	return b, nil
}

// writeFile writes a small file that a flag names.
func (a *app) writeFile(name string, text []byte, mode os.FileMode) error {
	path, err := a.abs(name)
	if err != nil {
		return err
	}
	return errs.Wrap(os.WriteFile(path, text, mode), "write", name)
}

// archiveOutput is where an archive goes: a file whose directory exists, or
// standard output, which must not be a terminal.
func (a *app) archiveOutput(file string) (path string, w io.Writer, err error) {
	if file == "" || file == "-" {
		if output.IsTerminal(a.std.Out) {
			return "", nil, errs.New(errs.Invalid, "cowardly refusing to save to a terminal. Use the -o flag or redirect")
		}
		return "", a.out.OutWriter(), nil
	}
	if path, err = a.abs(file); err != nil {
		return "", nil, err
	}
	dir := filepath.Dir(path)
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return "", nil, errs.WithHint(errs.New(errs.NotFound, "invalid output path: directory %q does not exist", dir), "mkdir -p %s", dir)
	}
	return path, nil, nil
}
