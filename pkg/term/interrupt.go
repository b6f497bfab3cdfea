// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Interruptible is r whose Read returns ctx's error as soon as ctx ends, also
// while it waits for a person to type: a signal that only ends a context wakes
// nobody in read(2). What is no file is returned as it is.
func Interruptible(ctx context.Context, r io.Reader) io.Reader {
	if f, ok := r.(*os.File); ok && f != nil {
		return &interruptible{ctx, f}
	}
	return r
}

type interruptible struct {
	ctx context.Context
	f   *os.File
}

func (r *interruptible) Read(p []byte) (int, error) {
	if err := r.await(); err != nil {
		return 0, err
	}
	return r.f.Read(p)
}

// await returns when there is something to read, an end or an error included.
func (r *interruptible) await() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	raw, err := r.f.SyscallConn()
	if err != nil {
		return nil // closed: Read says so
	}
	woken := -1
	err = raw.Control(func(fd uintptr) {
		if ready(int(fd), -1, 0) {
			return
		}
		if woken, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
			return
		}
		stop := context.AfterFunc(r.ctx, func() { _, _ = unix.Write(woken, []byte{1, 0, 0, 0, 0, 0, 0, 0}) })
		ready(int(fd), woken, -1)
		if stop() {
			unix.Close(woken)
		} // else the function may still write: the descriptor stays
	})
	if err != nil {
		return err
	}
	return r.ctx.Err()
}

// ready waits, at most for timeout milliseconds, until fd or woken can be read.
func ready(fd, woken, timeout int) bool {
	list := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(woken), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(list, timeout)
		if !errors.Is(err, unix.EINTR) {
			return n > 0 || err != nil
		}
	}
}
