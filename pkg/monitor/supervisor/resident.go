// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"encoding/json"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/monitor"
)

// A monitor starts fast and then sits there for months: what the start needed
// is of no use afterwards.

// warmUp lets encoding/json find out about libcontainer's types, some two
// milliseconds of reflection, while the front end is still busy with its
// database.
func warmUp() {
	_ = json.Unmarshal([]byte("{}"), &monitor.Config{})
	_, _ = json.Marshal(&libcontainer.State{})
}

// slim gives memory back once the process runs: the heap's free pages, and the
// pages of the program itself. Those of the start (most of libcontainer, JSON,
// the Go runtime's initialisation) are not touched again; the few that the
// idle monitor needs come back from the page cache, where all monitors share
// them, without a read from the disk.
func slim() {
	debug.FreeOSMemory()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for _, line := range strings.Split(string(maps), "\n") {
		f := strings.Fields(line)
		// Only what has not been written to: dropping those pages would lose
		// their content.
		if len(f) < 6 || !strings.HasPrefix(f[5], "/") || f[1][1] == 'w' {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED)
		}
	}
}
