// SPDX-License-Identifier: Apache-2.0

// Package storage keeps images and their read-only layers: a facade over
// containers/storage (layers) and containers/image (registries, archives,
// signatures).
//
// Reading (Resolve, List, Usage: storage/index) works for the user outside of any
// user namespace, takes no lock of the store, and reads a small index of its own.
// Writing (Pull, Load, Remove, ...) is only possible inside the user's
// namespace, or as real root, because layers contain files of many owners; the
// caller sees to that.
package storage

import (
	"os"
	"strings"

	"go.podman.io/storage/pkg/reexec"

	"github.com/proa-containers/proa/pkg/dirs"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/progress"
)

// Store is one user's images: what its Index reads, and the writing. It is safe
// for use by several goroutines.
type Store struct {
	root string // of containers/storage
	run  string // its volatile directory
	// userConf is where the user says that storage.conf is, which other stores
	// heed.
	userConf string
	*index.Index
	graph
}

// What reading is about.
type (
	Image   = index.Image
	Summary = index.Summary
)

// Progress is told how a transfer goes.
type Progress = progress.Sink

// Open prepares a Store; nothing is read or created yet.
func Open(d dirs.Dirs) *Store {
	tellUser()
	return &Store{Index: index.Of(d.Storage()), root: d.Storage(), run: d.StorageRun(), userConf: os.Getenv("CONTAINERS_STORAGE_CONF")}
}

// Reexec must be the first call of any main that writes to a Store. It reports
// true when this process was started as a helper of containers/storage and has
// done its work: main must return then.
func Reexec() bool { return reexec.Init() }

// tellUser says to containers/image whose namespace this is: as uid 0 it would
// look for root's files (/var/cache, /run/containers/0) instead of the user's.
func tellUser() {
	const env = "_CONTAINERS_ROOTLESS_UID"
	if os.Geteuid() != 0 || os.Getenv(env) != "" {
		return
	}
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return
	}
	if f := strings.Fields(string(data)); len(f) >= 3 && f[0] == "0" && f[1] != "0" {
		_ = os.Setenv(env, f[1])
	}
}
