// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// Reaper waits for the orphans that the monitor inherits: as pid 1 of a pid
// namespace, or with --pid host because it asked for them (see adopt). It must not take the status of a process that somebody here waits for: libcontainer
// forks several short-lived helpers per start, so nothing is reaped while a
// start is under way, and the processes that stay are known by pid.
type Reaper struct {
	mu       sync.Mutex
	inFlight int
	known    map[int]bool
	adopts   bool // orphans come to this process
}

// Adopt makes sure that the orphans of the container come to this process. In a pid
// namespace of its own they do. With --pid host they would go to the host's init,
// where nothing would find them at the end.
func (r *Reaper) Adopt() {
	r.adopts = os.Getpid() == 1 || unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == nil
}

// Watch reaps until the program ends.
func (r *Reaper) Watch() {
	if !r.adopts {
		return
	}
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGCHLD)
	for range ch {
		r.mu.Lock()
		r.sweep()
		r.mu.Unlock()
	}
}

// Begin holds the reaper back until end.
func (r *Reaper) Begin() {
	r.mu.Lock()
	r.inFlight++
	r.mu.Unlock()
}

// End lets the reaper work again; pid, where not 0, is waited for by somebody
// until forget.
func (r *Reaper) End(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight--
	if pid > 0 {
		if r.known == nil {
			r.known = make(map[int]bool)
		}
		r.known[pid] = true
	}
	r.sweep()
}

// Forget is called after pid was waited for.
func (r *Reaper) Forget(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, pid)
	r.sweep()
}

func (r *Reaper) sweep() {
	if !r.adopts {
		return
	}
	for r.inFlight == 0 {
		// Only looked at first: the status of a known one belongs to its owner.
		pid := peekZombie()
		if pid <= 0 || r.known[pid] {
			return
		}
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil {
			return
		}
	}
}

// peekZombie is the pid of a child that has ended, or 0.
func peekZombie() int {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0
		}
		return siginfoPid(&info)
	}
}
