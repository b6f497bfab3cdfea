// SPDX-License-Identifier: Apache-2.0

// Package rundir holds the two directories of a container: the names of the files
// in them, the locks that say whether its monitor lives, and the head of the
// monitor's status that others read.
package rundir

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
)

// Names of the files in a runtime directory.
const (
	LockFile   = "lock" // in the data directory, too
	SocketFile = "sock"
	StatusFile = "status.json"
	LogFile    = "monitor.log" // what the monitor itself says: nothing, as a rule
	// CgroupFile names the cgroup below which the container's was made: whoever
	// clears up after a killed monitor removes it.
	CgroupFile = "cgroup"
	// ExitFile lies in the data directory.
	ExitFile = "exit.json"
)

// SignalRestore asks a monitor to make its runtime directory again.
const SignalRestore = unix.SIGUSR1

// Paths are the two directories of a container.
type Paths struct {
	Run  string // on tmpfs; may vanish under a live monitor, or be another one for another host or job
	Data string // survives; whoever shares it sees the same lock. Empty: the container has none (a build's step)
}

// Hold says "a monitor is alive here", by a lock in each of the two
// directories. The one in the runtime directory works whatever the data
// directory lies on. The one in the data directory is seen where the runtime
// directory is not: after a logout or a cleaner has removed it, and by
// commands that have another one.
//
// The locks belong to the open files: they pass to the monitor by inheritance
// and end when the last descriptor is closed, however that happens.
type Hold struct {
	Run  *os.File
	Data *os.File // nil: no data directory, or its file system knows no locks
}

// Close releases the locks. It is safe to call twice. The run lock goes first:
// Lock takes the data lock first, so that it then gets both.
func (h *Hold) Close() error {
	var err error
	for _, f := range []*os.File{h.Run, h.Data} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	h.Run, h.Data = nil, nil
	return err
}

// Lock takes the locks of an existing container; it makes the runtime
// directory (mode 0700) where there is none. The caller closes the hold; after
// a successful launch that leaves the monitor as the only holder. Locks that
// somebody else holds are an error of kind errs.State, and nothing is made
// then.
func Lock(p Paths) (*Hold, error) { return lock(p, false) }

// LockNew is Lock for a container that is being made, whose id nobody else has. It
// makes both directories. A command that clears left-overs away may hold their locks
// for a moment: LockNew waits for it.
func LockNew(p Paths) (*Hold, error) { return lock(p, true) }

func lock(p Paths, fresh bool) (*Hold, error) {
	for {
		if fresh {
			// The runtime directory first: a data directory without it and
			// without a record would not be found by anybody.
			for _, dir := range []string{p.Run, p.Data} {
				if dir == "" {
					continue
				}
				if err := os.MkdirAll(dir, 0o700); err != nil {
					return nil, errs.Wrap(err, "create directory", dir)
				}
			}
		}
		h := &Hold{}
		var err error
		if p.Data != "" {
			h.Data, err = lockIn(p.Data)
		}
		switch {
		case fresh && (errors.Is(err, os.ErrNotExist) || errs.Is(err, errs.State)):
			// A command is just clearing it away as a left-over.
			time.Sleep(100 * time.Microsecond)
			continue
		case err != nil && !lockless(err):
			return nil, err
		}
		if err := os.MkdirAll(p.Run, 0o700); err != nil {
			_ = h.Close()
			return nil, errs.Wrap(err, "create runtime directory", p.Run)
		}
		if h.Run, err = lockIn(p.Run); err == nil {
			return h, nil
		}
		_ = h.Close()
		if !errors.Is(err, os.ErrNotExist) && !(fresh && errs.Is(err, errs.State)) {
			return nil, err
		}
		// A dying monitor, or a command that clears left-overs away, removed the
		// directory in between, or is about to.
		time.Sleep(100 * time.Microsecond)
	}
}

// lockless reports that a data directory cannot have a lock: it is gone, it is
// full or read-only (the file is older than the container otherwise), or its
// file system has none.
func lockless(err error) bool {
	for _, e := range []error{os.ErrNotExist, unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.ENOLCK, unix.ENOTSUP,
		unix.ENOSYS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lockIn takes the lock of one directory. os.ErrNotExist: there is none.
func lockIn(dir string) (*os.File, error) {
	path := filepath.Join(dir, LockFile)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return nil, errs.Wrap(err, "open lock in", dir)
		}
		if err := filelock.Flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			// Alive holds a shared lock for a moment: where a shared one can be
			// had, nobody lives there.
			probed := errors.Is(err, unix.EWOULDBLOCK) && filelock.Flock(f, unix.LOCK_SH|unix.LOCK_NB) == nil
			f.Close()
			switch {
			case probed:
				time.Sleep(time.Millisecond)
				continue
			case errors.Is(err, unix.EWOULDBLOCK):
				return nil, errs.New(errs.State, "container is already running")
			}
			return nil, errs.Wrap(err, "lock", dir)
		}
		// The previous monitor unlinks the file as its last act: a lock on an
		// unlinked file excludes nobody.
		if SameFile(f, path) {
			return f, nil
		}
		f.Close()
	}
}

// SameFile reports that path still leads to the open file f.
func SameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// Whole reports that the lock in the runtime directory dir is the one that h holds, and
// that socket and status are beside it.
func (h *Hold) Whole(dir string) bool {
	if !SameFile(h.Run, filepath.Join(dir, LockFile)) {
		return false
	}
	for _, name := range []string{SocketFile, StatusFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// Alive reports whether somebody holds a lock of the container: its monitor, or
// a command on its way to one. It asks the kernel and never a pid.
func Alive(p Paths) bool { return Locked(p.Run) || p.Data != "" && Locked(p.Data) }

// Locked reports whether somebody holds the lock of one directory.
func Locked(dir string) bool {
	f, err := os.Open(filepath.Join(dir, LockFile))
	if err != nil {
		return false
	}
	defer f.Close()
	// A shared lock, so that two commands that ask at once do not see each
	// other and take a dead monitor for a live one.
	return errors.Is(filelock.Flock(f, unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Lockable reports that a directory has a lock file which can be locked: a monitor
// that lives holds it.
func Lockable(dir string) bool {
	f, err := os.Open(filepath.Join(dir, LockFile))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	defer f.Close()
	err = filelock.Flock(f, unix.LOCK_SH|unix.LOCK_NB)
	return err == nil || !lockless(err)
}

// Clear removes the runtime directory that a killed monitor left behind. It
// does nothing, and returns false, while a monitor lives there.
func Clear(p Paths) (bool, error) {
	if _, err := os.Lstat(p.Run); errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	hold, err := Lock(p)
	if errs.Is(err, errs.State) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer hold.Close()
	return true, os.RemoveAll(p.Run)
}
