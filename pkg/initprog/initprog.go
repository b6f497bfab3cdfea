// SPDX-License-Identifier: Apache-2.0

// Package initprog carries the program of --init: a static executable of less
// than 2 KiB that passes signals on, reaps orphans and ends with the command's
// code. Health checks run below it as well. It is part of proa because hardly any
// distribution installs a static init by default, and one that needs the host's C
// library does not start in an arbitrary image. The source is src/init.c.
package initprog

//go:generate src/generate

import (
	"bytes"
	"encoding/base64"
	"os"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/errs"
)

// Available says whether there is a program for this architecture.
func Available() bool { return program != "" }

// Program is the executable file; nil where there is none.
func Program() ([]byte, error) {
	if !Available() {
		return nil, nil
	}
	elf, err := base64.StdEncoding.DecodeString(program)
	return elf, errs.Wrap(err, "decode the init program", "")
}

// Write makes sure that the program is the file at path, which one container
// has mounted and no other: a privileged container can make its mount writable.
// Its next start is therefore given the program again, as a new file, where it
// was changed.
func Write(path string) error {
	elf, err := Program()
	if err != nil {
		return err
	}
	st, err := os.Lstat(path)
	if err == nil && st.Mode() == mode && st.Size() == int64(len(elf)) {
		if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, elf) {
			return nil
		}
	}
	return errs.Wrap(atomicfile.Write(path, elf, mode, atomicfile.Volatile), "write the init program", path)
}

const mode = 0o555
