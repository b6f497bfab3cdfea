// SPDX-License-Identifier: Apache-2.0

// Package filelock takes locks of open files (flock(2)), which go with the last
// descriptor of the file: a killed process leaves none.
package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Flock takes or changes the lock of f as how says: LOCK_SH, LOCK_EX or LOCK_UN
// of golang.org/x/sys/unix, with LOCK_NB to fail with EWOULDBLOCK instead of
// waiting. A signal in between does not end the waiting: the Go runtime sends
// itself some.
func Flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
