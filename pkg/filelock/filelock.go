// SPDX-License-Identifier: Apache-2.0

// Package filelock takes locks of open files (flock(2)), which go with the last
// descriptor of the file: a killed process leaves none.
package filelock

import (
	"context"
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

// Until is Flock that waits for the lock until ctx ends, and returns ctx.Err() then.
// Nothing ends a wait in the kernel: it goes on in the background, on a descriptor of
// its own, and gives the lock back at once when it comes. The caller closes f in any case.
func Until(ctx context.Context, f *os.File, how int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := Flock(f, how|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return err
	}
	// The number must not be another file's under the thread that waits, once the
	// caller has closed f.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	own := os.NewFile(uintptr(fd), f.Name())
	came := make(chan error, 1)
	gone := make(chan struct{})
	go func() {
		came <- Flock(own, how)
		<-gone
		own.Close()
	}()
	defer close(gone)
	select {
	case err := <-came:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
