// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/rmtree"
	"github.com/proa-containers/proa/pkg/treesize"
)

// PruneStore is what Prune needs of the store.
type PruneStore interface {
	LayerExists(id string) bool
	// RemoveLayers deletes those of the layers that neither an image nor another
	// layer needs, with the layers of former images below them, and returns the
	// bytes given back.
	RemoveLayers(ctx context.Context, ids ...string) (int64, error)
	// BuildLayers are the layers that builds made and no image needs, by id.
	BuildLayers() (map[string]Made, error)
}

// Made is a layer that a build made.
type Made struct {
	Created time.Time
	Size    int64 // bytes, unpacked
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

// Prune removes what the build cache below dir remembers and no image needs, and
// the layers that nothing remembers. Kind InUse: a build is under way.
func Prune(ctx context.Context, dir string, store PruneStore, o PruneOptions) (*Pruned, error) {
	unlock, err := holdOff(ctx, filepath.Join(dir, "tmp"))
	if err != nil {
		return nil, err
	}
	defer unlock() //nolint:errcheck // closing gives the lock back in any case
	records, err := oldRecords(dir, o.Before)
	if err != nil {
		return nil, err
	}
	layers, err := forgotten(dir, store)
	if err != nil {
		return nil, err
	}
	var ids []string
	for id, m := range layers {
		if o.Before.IsZero() || m.Created.Before(o.Before) {
			ids = append(ids, id)
		}
	}
	for _, r := range records {
		if r.Layer.ID != "" {
			ids = append(ids, r.Layer.ID)
		}
	}
	out := &Pruned{}
	if out.Size, err = store.RemoveLayers(ctx, ids...); err != nil {
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

// So much of what is forgotten may lie about: to delete a layer takes about as long
// as to make a small one.
const (
	sweepLayers = 100
	sweepBytes  = 32 << 20
)

// Sweep removes the layers that builds made and no step remembers, those of steps
// that were made again and of builds that were killed, once they are worth it. While
// another build is under way it does nothing: that build's layers may not be
// remembered yet.
func Sweep(ctx context.Context, dir string, store PruneStore) error {
	unlock, err := holdOff(ctx, filepath.Join(dir, "tmp"))
	if errs.Is(err, errs.InUse) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock() //nolint:errcheck // closing gives the lock back in any case
	layers, err := forgotten(dir, store)
	if err != nil {
		return err
	}
	var size int64
	for _, m := range layers {
		size += m.Size
	}
	if len(layers) < sweepLayers && size < sweepBytes {
		return nil
	}
	_, err = store.RemoveLayers(ctx, slices.Collect(maps.Keys(layers))...)
	return err
}

// forgotten are the layers that builds made and no step remembers.
func forgotten(dir string, store PruneStore) (map[string]Made, error) {
	made, err := store.BuildLayers()
	if err != nil {
		return nil, err
	}
	records, err := oldRecords(dir, time.Time{})
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		delete(made, r.Layer.ID)
	}
	return made, nil
}

// holdOff makes new builds wait; those under way are an error.
func holdOff(ctx context.Context, parent string) (unlock func() error, err error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	if unlock, err = LockUntil(ctx, filepath.Join(parent, "build")); err != nil {
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
		r, err := readRecord(path)
		var unreadable *fs.PathError
		if errors.As(err, &unreadable) {
			return nil, err
		}
		if err != nil {
			r = Record{}
		}
		found[path] = r
	}
	return found, err
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
			out.Size += treesize.Of(path)
			out.IDs = append(out.IDs, e.Name())
		}
		if err := rmtree.Remove(path); err != nil {
			return err
		}
	}
	return err
}
