// SPDX-License-Identifier: Apache-2.0

package build

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"time"

	"github.com/proa-containers/proa/pkg/atomicfile"
)

// record is what the cache remembers of one step: a file per key in
// CacheDir/steps. A record whose layer is gone counts as absent (stage.place), so
// removing layers needs no look at the cache.
type record struct {
	Layer   Layer     `json:"layer"`
	Empty   bool      `json:"empty,omitempty"` // the step changed no file
	Command string    `json:"command"`
	Created time.Time `json:"created"`
	// Imported: another cache knew it, and its layer came only if something
	// wanted to see it.
	Imported bool `json:"imported,omitempty"`
}

// cache looks steps up by key.
type cache struct {
	dir string
	off bool
}

func (c *cache) path(key string) string { return filepath.Join(c.dir, "steps", key+".json") }

func (c *cache) get(key string) (record, bool) {
	var r record
	if c.off {
		return r, false
	}
	text, err := os.ReadFile(c.path(key))
	if err != nil || json.Unmarshal(text, &r) != nil {
		return r, false
	}
	now := time.Now()
	_ = os.Chtimes(c.path(key), now, now) // when it was last used, for Prune
	return r, true
}

// put remembers a step. The layer is committed by then: a crash before this
// costs only the next build's time.
func (c *cache) put(key string, r record) error {
	if err := os.MkdirAll(filepath.Dir(c.path(key)), 0o700); err != nil {
		return err
	}
	return atomicfile.WriteJSON(c.path(key), r, 0o600, atomicfile.Volatile)
}

// keyer builds a cache key: every part is length-prefixed, so no two lists of
// parts give one key.
type keyer struct{ h hash.Hash }

// keyVersion changes when the meaning of a key does.
const keyVersion = "proa-build-1"

func newKey(parts ...string) keyer {
	k := keyer{sha256.New()}
	k.add(keyVersion)
	k.add(parts...)
	return k
}

func (k keyer) add(parts ...string) {
	for _, p := range parts {
		fmt.Fprintf(k.h, "%d:%s", len(p), p)
	}
}

func (k keyer) sum() string { return hex.EncodeToString(k.h.Sum(nil)) }
