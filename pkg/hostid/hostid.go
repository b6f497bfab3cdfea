// SPDX-License-Identifier: Apache-2.0

// Package hostid tells hosts, and the boots of one host, apart. Several hosts
// may share one home directory: what one of them wrote there must not be
// judged by another, which cannot see the processes that it speaks of.
package hostid

import (
	"os"
	"strings"
	"sync"
)

// Host is a host as it is during one boot.
type Host struct {
	Boot    string // the kernel's boot id: new at each start, never the same on two machines
	Machine string // /etc/machine-id; empty where there is none, shared by cloned machines
	Name    string // the host name
}

// Self is the calling process's host. The files are read once.
var Self = sync.OnceValue(func() Host {
	h := Host{Boot: line("/proc/sys/kernel/random/boot_id"), Machine: line("/etc/machine-id")}
	h.Name, _ = os.Hostname()
	return h
})

func line(path string) string {
	text, _ := os.ReadFile(path)
	first, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(first)
}

// Same reports that o is this host, in this boot or another one. Machine id and
// name count together: cloned machines share the one, renumbered ones the
// other. A host that was renamed since is known by its boot.
func (h Host) Same(o Host) bool {
	if h.Machine != o.Machine {
		return false
	}
	return h.Name == o.Name || h.Machine != "" && h.SameBoot(o)
}

// SameBoot reports that both are of one boot of one kernel.
func (h Host) SameBoot(o Host) bool { return h.Boot != "" && h.Boot == o.Boot }
