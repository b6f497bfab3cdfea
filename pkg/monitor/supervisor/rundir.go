// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
)

// The runtime directory can vanish under a live container: the last logout of
// a user without lingering empties it, a cleaner of /tmp finds it old. The lock
// in the data directory still says that the container lives; the monitor makes
// the rest again: soon after the kernel has told it (dnotify, which unlike
// inotify has no small number per user), and at once when a command asks for it
// with rundir.SignalRestore.

// runDir is the state of the runtime directory.
type runDir struct {
	mu    sync.Mutex // held while it is made again, or removed
	watch *os.File   // the directory, while the kernel tells about it
	kept  []byte     // rundir.CgroupFile, which the front end has written
	left  bool       // it is given up
	again *time.Timer
}

// restoreDelay lets a running rm -rf come to its end: it fails on a directory that
// fills again meanwhile.
const restoreDelay = time.Second

// Flags of fcntl(2)'s F_NOTIFY. The kernel takes 32 bits; the sign keeps the last
// one within an int of 32-bit machines.
const (
	dnDelete    = 1 << 3
	dnMultishot = -1 << 31
)

// watchRunDir has the kernel send SIGIO when a file of the runtime directory is
// removed. Each new status does so, too: it is renamed into place. Without dnotify
// the directory comes back when a command asks for it.
func (s *supervisor) watchRunDir() {
	dir, err := os.Open(s.o.RunDir)
	if err != nil {
		return
	}
	if s.runDir.watch != nil {
		_ = s.runDir.watch.Close()
	} else {
		s.runDir.kept, _ = os.ReadFile(filepath.Join(s.o.RunDir, rundir.CgroupFile))
	}
	s.runDir.watch = dir
	_, _ = unix.FcntlInt(dir.Fd(), unix.F_NOTIFY, dnDelete|dnMultishot)
}

// runDirChanged is called for each file that is removed. It is the only caller
// of its timer.
func (s *supervisor) runDirChanged() {
	if s.runDir.again == nil {
		s.runDir.again = time.AfterFunc(restoreDelay, s.restoreRunDir)
		return
	}
	s.runDir.again.Reset(restoreDelay)
}

// restoreRunDir makes again what is missing of the runtime directory.
func (s *supervisor) restoreRunDir() {
	s.runDir.mu.Lock()
	defer s.runDir.mu.Unlock()
	if s.runDir.left || s.snapshot().StartedAt.IsZero() || s.in.hold.Whole(s.o.RunDir) {
		return // no more, not yet, or no need
	}
	// The socket before the lock: a command that sees the lock connects at once.
	if os.MkdirAll(s.o.RunDir, 0o700) != nil || s.server.listenAgain() != nil {
		return
	}
	hold, err := rundir.Lock(rundir.Paths{Run: s.o.RunDir})
	if err != nil {
		return // somebody clears it away just now: the next look asks again
	}
	s.in.hold.Run, hold.Run = hold.Run, s.in.hold.Run
	_ = hold.Close() // the lock of the file that is gone
	if _, err := os.Lstat(filepath.Join(s.o.RunDir, rundir.SocketFile)); err != nil {
		_ = s.server.listenAgain() // removed once more in between
	}
	if r, ok := s.net.link.(interface{ Restore() }); ok {
		r.Restore()
	}
	if s.runDir.kept != nil {
		_ = os.WriteFile(filepath.Join(s.o.RunDir, rundir.CgroupFile), s.runDir.kept, 0o600)
	}
	s.update(func(*monitor.Status) {}) // last: who sees it finds the rest
	s.watchRunDir()
}

// runDirLock is the lock file in the directory: another one after each restore.
func (s *supervisor) runDirLock() *os.File {
	s.runDir.mu.Lock()
	defer s.runDir.mu.Unlock()
	return s.in.hold.Run
}

// runDirStayed reports that it is whole, and was not made again since then.
func (s *supervisor) runDirStayed(lock *os.File) bool {
	s.runDir.mu.Lock()
	defer s.runDir.mu.Unlock()
	return s.in.hold.Run == lock && s.in.hold.Whole(s.o.RunDir)
}
