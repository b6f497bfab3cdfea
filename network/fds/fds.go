// SPDX-License-Identifier: Apache-2.0

// Package fds divides the descriptors that a monitor may have among those who
// answer clients: published ports and the name server. The control socket takes
// them from the same table, so some must be left, or nobody can look into the
// container, or stop it, any more.
package fds

import "golang.org/x/sys/unix"

// Reserved is what the monitor's own work needs: the container's streams, the
// control socket, some commands at a time.
const Reserved = 64

// Limit is how many descriptors this process may have.
func Limit() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<30))
}

const (
	maxQueries = 256
	perQuery   = 3 // of a client over TCP, and to a resolver
)

// Queries is how many queries the name server may answer at a time.
func Queries(limit int) int { return max(1, min(maxQueries, limit/16)) }

// ForPorts is what published ports may take.
func ForPorts(limit int) int { return limit - Reserved - perQuery*Queries(limit) }
