// SPDX-License-Identifier: Apache-2.0

// Package dirwatch waits for changes in directories: with inotify if the kernel gives an
// instance, else by polling.
package dirwatch

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const events = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_DELETE_SELF

// Watcher waits for changes in its directories. It belongs to one goroutine.
type Watcher struct {
	f     *os.File // nil: poll
	every time.Duration
}

// New watches no directory yet. every is the time after which Wait returns
// without a change: inotify instances are few per user, and a network file
// system knows nothing of other hosts' writes. The caller closes the Watcher.
func New(every time.Duration) *Watcher {
	w := &Watcher{every: every}
	if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
		w.f = os.NewFile(uintptr(fd), "inotify")
	}
	return w
}

// Add watches directories. One that does not exist is left out; one that is
// watched already stays so. Changes from here on end the next Wait.
func (w *Watcher) Add(dirs ...string) {
	if w.f == nil {
		return
	}
	raw, err := w.f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for _, d := range dirs {
			_, _ = unix.InotifyAddWatch(int(fd), d, events)
		}
	})
}

// Wait returns after a change, or after a while; with the cause when ctx ended.
func (w *Watcher) Wait(ctx context.Context) error {
	if w.f == nil {
		t := time.NewTimer(w.every)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		return context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// First the deadline: set after the look at ctx it could replace that of its end.
	_ = w.f.SetReadDeadline(time.Now().Add(w.every))
	if ctx.Err() == nil {
		var buf [4096]byte
		_, _ = w.f.Read(buf[:])
	}
	return context.Cause(ctx)
}

// Close ends the watch.
func (w *Watcher) Close() {
	if w != nil && w.f != nil {
		_ = w.f.Close()
	}
}
