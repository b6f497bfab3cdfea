// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"encoding/json"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/monitor"
)

// A monitor starts fast and then sits there for months: what the start needed
// is of no use afterwards.

// restAfter is how long nothing must have happened before the monitor gives
// memory back: short-lived containers, and bursts of exec, do not pay for it.
const restAfter = 400 * time.Millisecond

// stirred is called after work that leaves garbage behind.
func (s *supervisor) stirred() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rest != nil {
		s.rest.Reset(restAfter)
	}
}

// warmUp lets encoding/json find out about libcontainer's types, some two
// milliseconds of reflection, while the front end is still busy with its
// database.
func warmUp() {
	_ = json.Unmarshal([]byte("{}"), &monitor.Config{})
	_, _ = json.Marshal(&libcontainer.State{})
}

// slim gives memory back once nothing happens any more: the heap's free pages, and the
// pages of the program itself. Those of the start (most of libcontainer, JSON,
// the Go runtime's initialisation) are not touched again; the few that the
// idle monitor needs come back from the page cache, where all monitors share
// them, without a read from the disk.
func slim() {
	var clean []addrRange
	if smaps, err := os.ReadFile("/proc/self/smaps"); err == nil {
		clean = cleanRanges(string(smaps))
	}
	debug.FreeOSMemory() // after reading, which leaves garbage
	for _, r := range clean {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, r.start, r.end-r.start, unix.MADV_DONTNEED)
	}
}

type addrRange struct{ start, end uintptr }

// cleanRanges finds the mappings of files that nothing was ever written to.
// That they are not writable is not enough: the dynamic loader writes into
// pages (RELRO) before it protects them, and dropping those would bring back
// what the file says.
func cleanRanges(smaps string) []addrRange {
	var found []addrRange
	var cur addrRange
	for _, line := range strings.Split(smaps, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-"):
			cur = addrRange{}
			from, to, _ := strings.Cut(f[0], "-")
			start, err1 := strconv.ParseUint(from, 16, 64)
			end, err2 := strconv.ParseUint(to, 16, 64)
			if len(f) >= 6 && strings.HasPrefix(f[5], "/") && f[1][1] != 'w' && err1 == nil && err2 == nil {
				cur = addrRange{uintptr(start), uintptr(end)}
			}
		case len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0" && cur.end > 0:
			found = append(found, cur)
		}
	}
	return found
}
