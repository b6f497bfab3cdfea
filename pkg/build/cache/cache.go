// SPDX-License-Identifier: Apache-2.0

// Package cache keeps what later builds can use: records of steps by key, the
// directories beside them with their locks, and steps in the form that goes to other
// machines.
package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/proa-containers/proa/pkg/atomicfile"
)

// Record is what the cache remembers of one step: a file per key in
// CacheDir/steps. A record whose layer is gone counts as absent (stage.place), so
// removing layers needs no look at the cache.
type Record struct {
	Layer   Layer     `json:"layer"`
	Empty   bool      `json:"empty,omitempty"` // the step changed no file
	Command string    `json:"command"`
	Created time.Time `json:"created"`
	// Imported: another cache knew it, and its layer came only if something
	// wanted to see it.
	Imported bool `json:"imported,omitempty"`
	// Content: this is no step but what a step read of another stage's layers: a
	// digest of the files. The key names the layers.
	Content string `json:"content,omitempty"`
}

// Steps looks steps up by key.
type Steps struct {
	Dir string
	Off bool

	replaced atomic.Bool
}

// Replaced says whether Put gave a step another layer: nobody knows the old one
// any more, and Sweep removes it.
func (c *Steps) Replaced() bool { return c.replaced.Load() }

func readRecord(path string) (r Record, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

func (c *Steps) path(key string) string { return filepath.Join(c.Dir, "steps", key+".json") }

// Get finds a step, and notes that it was used.
func (c *Steps) Get(key string) (Record, bool) {
	if c.Off {
		return Record{}, false
	}
	r, err := readRecord(c.path(key))
	if err != nil {
		return r, false
	}
	now := time.Now()
	_ = os.Chtimes(c.path(key), now, now) // when it was last used, for Prune
	return r, true
}

// Put remembers a step. The layer is committed by then: a crash before this
// costs only the next build's time, and a layer that Sweep removes.
func (c *Steps) Put(key string, r Record) error {
	if old, err := readRecord(c.path(key)); err == nil && old.Layer.ID != r.Layer.ID && old.Layer.ID != "" {
		c.replaced.Store(true)
	}
	if err := os.MkdirAll(filepath.Dir(c.path(key)), 0o700); err != nil {
		return err
	}
	return atomicfile.WriteJSON(c.path(key), r, 0o600, atomicfile.Volatile)
}

// Key builds a cache key: every part is length-prefixed, so no two lists of
// parts give one key.
type Key struct{ h hash.Hash }

// Version changes when the meaning of a key does.
const Version = "proa-build-1"

// NewKey begins a key with parts.
func NewKey(parts ...string) Key {
	k := Key{sha256.New()}
	k.Add(Version)
	k.Add(parts...)
	return k
}

// Add adds parts to the key.
func (k Key) Add(parts ...string) {
	for _, p := range parts {
		fmt.Fprintf(k.h, "%d:%s", len(p), p)
	}
}

// Sum is the key of all that was added, in hex.
func (k Key) Sum() string { return hex.EncodeToString(k.h.Sum(nil)) }
