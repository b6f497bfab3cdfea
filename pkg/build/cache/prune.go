// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/rmtree"
)

// PruneStore is what Prune needs of the store.
type PruneStore interface {
	LayerExists(id string) bool
	// RemoveLayers deletes those layers that no image and no other layer
	// needs, and returns the bytes given back.
	RemoveLayers(ctx context.Context, ids ...string) (int64, error)
}

// PruneOptions select what Prune removes.
type PruneOptions struct {
	All    bool      // also what images still use, and cache mounts
	Before time.Time // last used before; zero: whenever
}

// Pruned is what Prune removed.
type Pruned struct {
	IDs  []string // keys of steps, ids of cache mounts
	Size int64    // bytes
}

// Prune removes what the build cache below dir remembers and no image needs.
// Kind InUse: a build is under way.
func Prune(ctx context.Context, dir string, store PruneStore, o PruneOptions) (*Pruned, error) {
	unlock, err := holdOff(filepath.Join(dir, "tmp"))
	if err != nil {
		return nil, err
	}
	defer unlock() //nolint:errcheck // closing gives the lock back in any case
	records, err := oldRecords(dir, o.Before)
	if err != nil {
		return nil, err
	}
	out := &Pruned{}
	if out.Size, err = removeLayers(ctx, store, records); err != nil {
		return out, err
	}
	for path, r := range records {
		if !o.All && r.Layer.ID != "" && store.LayerExists(r.Layer.ID) {
			continue // an image's: its next build is quick, and no space is lost
		}
		if err := os.Remove(path); err != nil {
			return out, err
		}
		out.IDs = append(out.IDs, strings.TrimSuffix(filepath.Base(path), ".json"))
	}
	if o.All {
		err = pruneMounts(dir, o.Before, out)
	}
	return out, err
}

// holdOff makes new builds wait; those under way are an error.
func holdOff(parent string) (unlock func() error, err error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	if unlock, err = Lock(filepath.Join(parent, "build"), true); err != nil {
		return nil, err
	}
	sweepWorkDirs(parent)
	left, _ := filepath.Glob(filepath.Join(parent, workPrefix+"*.lock"))
	if len(left) == 0 {
		return unlock, nil
	}
	return nil, errors.Join(errs.WithHint(errs.New(errs.InUse, "cannot prune the build cache: a build is under way"), "wait until it is done"), unlock())
}

// oldRecords are the steps last used before a time, by the path of the file.
// One that cannot be read is of no use to any build: it counts as empty.
func oldRecords(dir string, before time.Time) (map[string]Record, error) {
	found := map[string]Record{}
	names, err := filepath.Glob(filepath.Join(dir, "steps", "*.json"))
	for _, path := range names {
		fi, err := os.Stat(path)
		if err != nil || !before.IsZero() && !fi.ModTime().Before(before) {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var r Record
		if json.Unmarshal(text, &r) != nil {
			r = Record{}
		}
		found[path] = r
	}
	return found, err
}

// removeLayers removes layers from the top down: one that another stands on
// goes in a later round.
func removeLayers(ctx context.Context, store PruneStore, records map[string]Record) (size int64, err error) {
	left := map[string]bool{}
	for _, r := range records {
		if r.Layer.ID != "" && store.LayerExists(r.Layer.ID) {
			left[r.Layer.ID] = true
		}
	}
	for len(left) > 0 {
		ids := make([]string, 0, len(left))
		for id := range left {
			ids = append(ids, id)
		}
		n, err := store.RemoveLayers(ctx, ids...)
		size += n
		if err != nil {
			return size, err
		}
		for id := range left {
			if !store.LayerExists(id) {
				delete(left, id)
			}
		}
		if len(left) == len(ids) {
			break // images have the rest
		}
	}
	return size, nil
}

// pruneMounts removes the directories of cache mounts.
func pruneMounts(dir string, before time.Time, out *Pruned) error {
	mounts := filepath.Join(dir, "mounts")
	ents, err := os.ReadDir(mounts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range ents {
		fi, ierr := e.Info()
		if ierr != nil || !before.IsZero() && !fi.ModTime().Before(before) {
			continue
		}
		path := filepath.Join(mounts, e.Name())
		if e.IsDir() {
			out.Size += treeSize(path)
			out.IDs = append(out.IDs, e.Name())
		}
		if err := rmtree.Remove(path); err != nil {
			return err
		}
	}
	return err
}

// treeSize adds up the sizes of the files; what cannot be read counts nothing.
func treeSize(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		if fi, err := e.Info(); err == nil {
			size += fi.Size()
		}
		return nil
	})
	return size
}
