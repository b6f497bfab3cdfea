// SPDX-License-Identifier: Apache-2.0

package read

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// pollEvery is how often a follower looks without being told to: for the end
// of the container, and where inotify is not to be had (its instances are few
// per user, and network file systems know nothing of other hosts' writes).
const pollEvery = 200 * time.Millisecond

// watcher waits for changes to a log.
type watcher struct{ f *os.File } // nil: poll

// watch looks at the directory: rotation replaces the file.
func watch(path string) *watcher {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return &watcher{}
	}
	const events = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), events); err != nil {
		_ = unix.Close(fd)
		return &watcher{}
	}
	return &watcher{f: os.NewFile(uintptr(fd), "inotify")}
}

// wait returns after a change, or after a while; with an error when ctx ended.
func (w *watcher) wait(ctx context.Context) error {
	if w.f == nil {
		t := time.NewTimer(pollEvery)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		return context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if ctx.Err() == nil {
		_ = w.f.SetReadDeadline(time.Now().Add(pollEvery))
		var buf [4096]byte
		_, _ = w.f.Read(buf[:])
	}
	return context.Cause(ctx)
}

func (w *watcher) close() {
	if w != nil && w.f != nil {
		_ = w.f.Close()
	}
}
