// SPDX-License-Identifier: Apache-2.0

// Package netns runs code in network namespaces. The namespace is a property
// of the thread, and a monitor cannot go back: the host's network namespace
// belongs to a user namespace in which it has no privilege. So each thread
// that enters a namespace ends there, and never returns to Go's pool.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Do runs fn on a fresh thread that is in the namespaces ns, entering them one
// after the other: fn(i) is called in ns[i]. It stops at the first error. fn
// must not start goroutines that rely on the namespace; sockets that it opens
// stay in their namespace and work from everywhere.
func Do(fn func(i int) error, ns ...*os.File) error {
	done := make(chan error, 1)
	OnThread(func() {
		done <- func() error {
			for i, f := range ns {
				if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
					return fmt.Errorf("cannot enter network namespace: %w", err)
				}
				if err := fn(i); err != nil {
					return err
				}
			}
			return nil
		}()
	})
	return <-done
}

// New makes a network namespace. The caller closes it.
func New() (*os.File, error) {
	var f *os.File
	done := make(chan error, 1)
	OnThread(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("cannot make a network namespace: %w", err)
			return
		}
		var err error
		f, err = os.Open("/proc/thread-self/ns/net")
		done <- err
	})
	return f, <-done
}

// OnThread runs fn on a thread of its own, which ends with it. The process's
// first thread is never used: Go cannot end it, and everybody who looks at
// /proc/PID would take its namespace for the process's.
func OnThread(fn func()) {
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if unix.Gettid() != unix.Getpid() {
			fn()
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread()
			fn()
		}()
		<-done
		runtime.UnlockOSThread()
	}()
}

// Worker calls functions on one thread in a namespace. The thread exists only
// while there is work, and a little longer: an idle container has none.
type Worker struct {
	ns     *os.File
	linger time.Duration

	mu     sync.Mutex
	queue  chan func()
	closed bool
}

// NewWorker makes a worker for ns, which stays the caller's and must be open
// until Close.
func NewWorker(ns *os.File) *Worker {
	return &Worker{ns: ns, linger: 3 * time.Second}
}

// Do runs fn in the namespace and waits for it. fn should be short: others
// wait behind it.
func (w *Worker) Do(fn func() error) error {
	done := make(chan error, 1)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return os.ErrClosed
	}
	if w.queue == nil {
		w.queue = make(chan func(), 64)
		ready := make(chan error, 1)
		q := w.queue
		OnThread(func() { w.run(q, ready) })
		if err := <-ready; err != nil {
			w.queue = nil
			w.mu.Unlock()
			return err
		}
	}
	// Under the lock, so that the thread cannot decide to end in between.
	w.queue <- func() { done <- fn() }
	w.mu.Unlock()
	return <-done
}

// Close makes every later Do fail with os.ErrClosed; ns is not used any more.
// The thread, if there is one, ends by itself.
func (w *Worker) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
}

func (w *Worker) run(q chan func(), ready chan error) {
	err := unix.Setns(int(w.ns.Fd()), unix.CLONE_NEWNET)
	ready <- err
	if err != nil {
		return
	}
	t := time.NewTimer(w.linger)
	defer t.Stop()
	for {
		select {
		case f := <-q:
			f()
			t.Reset(w.linger)
		case <-t.C:
			w.mu.Lock()
			if len(q) == 0 {
				w.queue = nil
				w.mu.Unlock()
				return
			}
			w.mu.Unlock()
			t.Reset(w.linger)
		}
	}
}

// Inode identifies a namespace.
func Inode(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// IsNet reports whether f is a network namespace.
func IsNet(f *os.File) bool {
	typ, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	return err == nil && typ == unix.CLONE_NEWNET
}

// OpenOf opens the network namespace that process pid holds as descriptor fd,
// looking through the /proc that proc is a descriptor of. It fails when the
// descriptor is something else, or not the namespace with the given inode
// (0: any): pids are reused.
func OpenOf(proc *os.File, pid, fd int, inode uint64) (*os.File, error) {
	path := fmt.Sprintf("%d/fd/%d", pid, fd)
	n, err := unix.Openat(int(proc.Fd()), path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/proc/" + path, Err: err}
	}
	f := os.NewFile(uintptr(n), path)
	if !IsNet(f) {
		f.Close()
		return nil, errors.New("/proc/" + path + " is not a network namespace")
	}
	if ino, err := Inode(f); err != nil || (inode != 0 && ino != inode) {
		f.Close()
		return nil, errors.New("/proc/" + path + " is another network namespace")
	}
	return f, nil
}
