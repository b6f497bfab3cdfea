// SPDX-License-Identifier: Apache-2.0

// Package initprog carries the program of --init: a static executable of less
// than 2 KiB that passes signals on, reaps orphans and ends with the command's
// code. It is part of proa because hardly any distribution installs a static
// init by default, and one that needs the host's C library does not start in
// an arbitrary image. The source is src/init.c.
package initprog

//go:generate src/generate

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/errs"
)

// Ensure makes sure that the program lies in dir and returns its path. The
// name follows from the content: a newer proa leaves the file alone that
// containers of an older one still have mounted. Where there is no program for
// this architecture the path is empty.
func Ensure(dir string) (string, error) {
	if program == "" {
		return "", nil
	}
	elf, err := base64.StdEncoding.DecodeString(program)
	if err != nil {
		return "", errs.Wrap(err, "decode the init program", "")
	}
	sum := sha256.Sum256(elf)
	name := filepath.Join(dir, "init-"+hex.EncodeToString(sum[:6]))
	// Not read again: it is ours, and was written whole.
	if st, err := os.Stat(name); err == nil && st.Mode() == 0o555 && st.Size() == int64(len(elf)) {
		return name, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", errs.Wrap(err, "look for the init program", name)
	}
	return name, errs.Wrap(atomicfile.Write(name, elf, 0o555, atomicfile.Durable), "write the init program", name)
}
