// SPDX-License-Identifier: Apache-2.0

package userns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
	"github.com/proa-containers/proa/pkg/rundir"
)

// How fifty first commands end up in one namespace: whoever looks for it holds
// runDir/userns.lock shared until its own process can be found by others, and
// a namespace is only made under the exclusive lock, after another look. So
// when nobody can be found, nobody is on the way in either.
//
//	looking, joining     LOCK_SH   until Close (many at once)
//	making               LOCK_EX   until the new process is inside, then LOCK_SH

const (
	lockName    = "userns.lock"
	pointerName = "userns.json"
)

// Namespace is the calling user's namespace: one to join, one to make with the
// first process started, or (for real root) none at all.
type Namespace struct {
	// Warning is a sentence for the user, where the namespace is about to be
	// made with less than the full mapping.
	Warning string

	runDir  string
	mu      sync.Mutex // held while a first process makes the namespace
	lock    *os.File
	ns      *os.File // nil: to be made, or none
	none    bool
	mapping Mapping
}

// Acquire finds the live namespace of the calling user, or prepares to make it
// with the first Start. As real root, or inside such a namespace already, it
// returns a Namespace that stands for "none needed".
//
// Call Close when the process that was started can be found by others: a
// monitor has written its status file, a command has ended.
func Acquire(ctx context.Context, runDir string) (*Namespace, error) {
	n := &Namespace{runDir: runDir}
	if privilegedHere() {
		n.none = true
		return n, nil
	}
	var err error
	n.lock, err = os.OpenFile(filepath.Join(runDir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errs.Wrap(err, "lock the user namespace", runDir)
	}
	if err := n.findOrPrepare(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (n *Namespace) findOrPrepare(ctx context.Context) error {
	for {
		if err := filelock.Until(ctx, n.lock, unix.LOCK_SH); err != nil {
			return errs.Wrap(err, "lock", n.lock.Name())
		}
		if n.find() {
			return nil
		}
		// Never wait for the exclusive lock: those who have found the namespace
		// keep theirs for a while, and there would always be some.
		err := unix.Flock(int(n.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			if !n.find() {
				break
			}
			// Somebody was faster. Turning the lock back to a shared one is not
			// atomic, so look once more under it.
			n.ns.Close()
			n.ns = nil
			continue
		}
		// The failed attempt has lost the shared lock as well, which lets
		// others try. Not all at the same time.
		if err := pause(ctx, time.Duration(200+rand.IntN(2000))*time.Microsecond); err != nil {
			return errs.Wrap(err, "lock", n.lock.Name())
		}
	}
	m, warning, err := LookupMapping()
	if err != nil {
		return err
	}
	n.mapping, n.Warning = m, warning
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Exists reports whether there is a namespace to join; false means that the
// first Start makes it, or that none is needed.
func (n *Namespace) Exists() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ns != nil
}

// None reports that processes need no user namespace: this is real root.
func (n *Namespace) None() bool { return n.none }

// Mapping is how the namespace is, or will be, mapped. The zero Mapping stands
// for no namespace.
func (n *Namespace) Mapping() (Mapping, error) { return n.mapping, nil }

// Close lets others make a namespace again and forgets this one, which lives
// on with the processes in it. It is safe to call twice.
func (n *Namespace) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ns != nil {
		n.ns.Close()
		n.ns = nil
	}
	if n.lock != nil {
		n.lock.Close()
		n.lock = nil
	}
	return nil
}

// find opens the namespace that the pointer file or a live monitor leads to.
func (n *Namespace) find() bool {
	h, err := readPointer(n.runDir)
	if err == nil && n.open(h) {
		return true
	}
	found := false
	eachMonitor(n.runDir, func(h rundir.Process) bool {
		if found = n.open(h); found {
			// Best effort: it only spares the next command the search.
			_ = writePointer(n.runDir, h)
		}
		return !found
	})
	return found
}

// open takes h's user namespace if that process is still the one meant and is
// in another user namespace than we are.
func (n *Namespace) open(h rundir.Process) bool {
	ns, mapping, err := openHolder(h)
	if err != nil {
		return false
	}
	n.ns, n.mapping = ns, mapping
	return true
}

func openHolder(h rundir.Process) (*os.File, Mapping, error) {
	var m Mapping
	if h.PID <= 0 {
		return nil, m, errors.New("no process")
	}
	// All looks go through one directory descriptor: it stays with this very
	// process even if the pid is given to another meanwhile.
	dir, err := unix.Open("/proc/"+strconv.Itoa(h.PID), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, m, err
	}
	defer unix.Close(dir)
	stat, err := readAt(dir, "stat")
	if err != nil {
		return nil, m, err
	}
	if start, err := rundir.ParseStart(stat); err != nil || start != h.Start {
		return nil, m, fmt.Errorf("process %d is not the one that was meant", h.PID)
	}
	uids, err := readAt(dir, "uid_map")
	if err != nil {
		return nil, m, err
	}
	gids, err := readAt(dir, "gid_map")
	if err != nil {
		return nil, m, err
	}
	m = Mapping{UIDs: parseIDMap(string(uids)), GIDs: parseIDMap(string(gids))}
	m.Single = len(m.UIDs) == 1 && m.UIDs[0].Count == 1
	fd, err := unix.Openat(dir, "ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, m, err
	}
	if sameAsOurs(fd) {
		unix.Close(fd)
		return nil, m, fmt.Errorf("process %d is in no namespace of its own", h.PID)
	}
	return os.NewFile(uintptr(fd), "userns"), m, nil
}

func readAt(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 8192) // 340 lines of a map are more than a page
	total := 0
	for total < len(buf) {
		n, err := unix.Read(fd, buf[total:])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		total += n
	}
	return buf[:total], nil
}

func sameAsOurs(fd int) bool {
	var theirs, ours unix.Stat_t
	if unix.Fstat(fd, &theirs) != nil || unix.Stat("/proc/self/ns/user", &ours) != nil {
		return false
	}
	return theirs.Ino == ours.Ino && theirs.Dev == ours.Dev
}

func readPointer(runDir string) (h rundir.Process, err error) {
	data, err := os.ReadFile(filepath.Join(runDir, pointerName))
	if err != nil {
		return h, err
	}
	return h, json.Unmarshal(data, &h)
}

// writePointer replaces the file by a rename: readers hold the lock shared.
func writePointer(runDir string, h rundir.Process) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	tmp := filepath.Join(runDir, pointerName+"."+strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(runDir, pointerName))
}

// eachMonitor calls f with every process that a status file under runDir/c
// names, dead or alive, until f returns false.
func eachMonitor(runDir string, f func(rundir.Process) bool) {
	dir := filepath.Join(runDir, "c")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if head, err := rundir.ReadHead(filepath.Join(dir, e.Name())); err == nil && !f(head.Monitor()) {
			return
		}
	}
}

// privilegedHere reports whether this process may make mount and pid
// namespaces as it is. Root without CAP_SYS_ADMIN (a container's) may not, and
// is treated as any other user.
func privilegedHere() bool {
	if os.Geteuid() != 0 {
		return false
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return true
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}
