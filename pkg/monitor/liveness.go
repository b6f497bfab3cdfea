// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// Names of the files in a runtime directory.
const (
	LockFile   = "lock"
	SocketFile = "sock"
	StatusFile = "status.json"
	LogFile    = "monitor.log" // what the monitor itself says: nothing, as a rule
	// ExitFile lies in the data directory.
	ExitFile = "exit.json"
)

// Lock creates runDir (mode 0700) and takes the lock that says "a monitor is
// alive here". The lock belongs to the open file: it passes to the monitor by
// inheritance and ends when the last descriptor is closed, however that
// happens. The caller closes the returned file; after a successful launch that
// leaves the monitor as the only holder. A lock that somebody else holds is an
// error of kind errs.State.
func Lock(runDir string) (*os.File, error) {
	for {
		if err := os.MkdirAll(runDir, 0o700); err != nil {
			return nil, errs.Wrap(err, "create runtime directory", runDir)
		}
		f, err := os.OpenFile(filepath.Join(runDir, LockFile), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			continue // a dying monitor removed the directory in between
		}
		if err != nil {
			return nil, errs.Wrap(err, "open lock in", runDir)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			// Alive holds a shared lock for a moment: where a shared one can be
			// had, nobody lives there.
			probed := errors.Is(err, unix.EWOULDBLOCK) && unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
			f.Close()
			switch {
			case probed:
				time.Sleep(time.Millisecond)
				continue
			case errors.Is(err, unix.EWOULDBLOCK):
				return nil, errs.New(errs.State, "container is already running")
			}
			return nil, errs.Wrap(err, "lock", runDir)
		}
		// The previous monitor unlinks the file as its last act: a lock on an
		// unlinked file excludes nobody.
		if samePath(f, filepath.Join(runDir, LockFile)) {
			return f, nil
		}
		f.Close()
	}
}

func samePath(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// Alive reports whether a monitor holds the lock of runDir. It asks the kernel
// and never a pid.
func Alive(runDir string) bool {
	f, err := os.Open(filepath.Join(runDir, LockFile))
	if err != nil {
		return false
	}
	defer f.Close()
	// A shared lock, so that two commands that ask at once do not see each
	// other and take a dead monitor for a live one.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return errors.Is(err, unix.EWOULDBLOCK)
	}
	return false
}

// Clear removes the runtime directory that a killed monitor left behind. It
// does nothing, and returns false, while a monitor lives there.
func Clear(runDir string) (bool, error) {
	if _, err := os.Lstat(runDir); errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	lock, err := Lock(runDir)
	if errs.Is(err, errs.State) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer lock.Close()
	return true, os.RemoveAll(runDir)
}
