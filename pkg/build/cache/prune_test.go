// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
)

// memory is a store of layers that nothing else needs.
type memory map[string]Made

func (m memory) LayerExists(id string) bool { _, ok := m[id]; return ok }

func (m memory) RemoveLayers(_ context.Context, ids ...string) (size int64, err error) {
	for _, id := range ids {
		size += m[id].Size
		delete(m, id)
	}
	return size, nil
}

func (m memory) BuildLayers() (map[string]Made, error) { return maps.Clone(m), nil }

func (m memory) ids() []string { return slices.Sorted(maps.Keys(m)) }

func remember(t *testing.T, s *Steps, key, layer string) {
	t.Helper()
	if err := s.Put(key, Record{Layer: Layer{ID: layer}}); err != nil {
		t.Fatal(err)
	}
}

// What no step remembers goes, whatever else of the cache stays.
func TestPruneForgotten(t *testing.T) {
	s := &Steps{Dir: t.TempDir()}
	old := time.Now().Add(-2 * time.Hour)
	store := memory{"first": {Created: old, Size: 1}, "second": {Created: time.Now(), Size: 10}, "now": {Size: 100}}
	remember(t, s, "step", "first")
	if s.Replaced() {
		t.Error("the first one replaces nothing")
	}
	remember(t, s, "step", "first")
	if s.Replaced() {
		t.Error("the same layer replaces nothing")
	}
	remember(t, s, "step", "now")
	if !s.Replaced() {
		t.Error("another layer replaces the first one")
	}
	p, err := Prune(t.Context(), s.Dir, store, PruneOptions{Before: time.Now().Add(-time.Hour)})
	if err != nil || p.Size != 1 || !slices.Equal(store.ids(), []string{"now", "second"}) {
		t.Errorf("older than an hour: %+v %v, left %v", p, err, store.ids())
	}
	p, err = Prune(t.Context(), s.Dir, store, PruneOptions{})
	if err != nil || p.Size != 110 || len(store) != 0 {
		t.Errorf("all: %+v %v, left %v", p, err, store.ids())
	}
}

func TestSweep(t *testing.T) {
	s := &Steps{Dir: t.TempDir()}
	store := memory{"known": {Size: sweepBytes}, "small": {Size: 1}}
	remember(t, s, "step", "known")
	sweep := func() {
		t.Helper()
		if err := Sweep(t.Context(), s.Dir, store); err != nil {
			t.Fatal(err)
		}
	}
	if sweep(); len(store) != 2 {
		t.Errorf("one small layer is not worth it, left %v", store.ids())
	}
	store["large"] = Made{Size: sweepBytes}
	_, end, err := WorkDir(t.Context(), filepath.Join(s.Dir, "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	if sweep(); len(store) != 3 {
		t.Errorf("a build is under way, left %v", store.ids())
	}
	if _, err := Prune(t.Context(), s.Dir, store, PruneOptions{}); !errs.Is(err, errs.InUse) {
		t.Errorf("a build is under way: %v", err)
	}
	release, err := Hold(t.Context(), s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	end()
	if sweep(); len(store) != 3 {
		t.Errorf("somebody looks at a failed step, left %v", store.ids())
	}
	release()
	if sweep(); !slices.Equal(store.ids(), []string{"known"}) {
		t.Errorf("left %v", store.ids())
	}
	for i := range sweepLayers {
		store[fmt.Sprint(i)] = Made{}
	}
	if sweep(); !slices.Equal(store.ids(), []string{"known"}) {
		t.Errorf("many small ones: left %v", store.ids())
	}
}
