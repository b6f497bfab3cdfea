// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/proa-containers/proa/storage/index"
)

// pulled is a store with one image of several layers.
func pulled(t *testing.T) (*Store, *Image) {
	t.Helper()
	srv := newRegistry(t)
	push(t, hostOf(srv), "library/many:latest", manyLayers(t))
	s := newStore(t, hostOf(srv))
	img, err := s.Pull(context.Background(), "many", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Driver() != "overlay" {
		t.Skip("no overlay here: no short names")
	}
	return s, img
}

func wantLinks(t *testing.T, s *Store, img *Image) {
	t.Helper()
	for _, l := range img.Lowers {
		if _, err := os.Stat(filepath.Join(s.Home(), l, ".")); err != nil {
			t.Errorf("the short name of a layer is gone: %v", err)
		}
	}
}

// unfinishLayer leaves what a pull leaves that is killed while it makes its next
// layer, when the file of the short name is created and not yet written.
func unfinishLayer(t *testing.T, s *Store, parent string) {
	t.Helper()
	id := strings.Repeat("ab", 32)
	file := filepath.Join(s.root, "overlay-layers", "layers.json")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(old, &raw); err != nil {
		t.Fatal(err)
	}
	rec, err := json.Marshal(index.Layer{ID: id, Parent: parent, Flags: map[string]any{"incomplete": true, index.FlagLayer: index.LayerImage}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(append(raw, rec))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.Home(), id)
	if err := os.MkdirAll(filepath.Join(dir, "diff"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("..", id, "diff"), filepath.Join(s.Home(), "l", "UNFINISHED")); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		filepath.Join(dir, "link"): nil, file: text, filepath.Join(s.opsDir(), "op-1"): nil,
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The next call opens it afresh, as another process would.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The library takes an empty short name for the directory of all of them.
func TestUnfinishedShortName(t *testing.T) {
	s, img := pulled(t)
	unfinishLayer(t, s, img.TopLayer)
	checkClean(t, s) // clears away
	wantLinks(t, s, img)
	links, err := os.ReadDir(filepath.Join(s.Home(), "l"))
	if err != nil || len(links) != len(img.Lowers) {
		t.Errorf("%d links, want %d (%v)", len(links), len(img.Lowers), err)
	}
	if _, err := os.Stat(filepath.Join(s.Home(), strings.Repeat("ab", 32))); !notExist(err) {
		t.Errorf("the unfinished layer is still there: %v", err)
	}
}

// What lost its links all the same gets them back before it is mounted.
func TestLostShortNames(t *testing.T) {
	s, img := pulled(t)
	if err := os.RemoveAll(filepath.Join(s.Home(), "l")); err != nil {
		t.Fatal(err)
	}
	dir, release, err := s.MountLayer(context.Background(), s.TopLayer(img))
	if err != nil {
		t.Fatal(err)
	}
	ents, err := os.ReadDir(dir)
	if err != nil || !slices.ContainsFunc(ents, func(e os.DirEntry) bool { return e.Name() == "big0" }) {
		t.Errorf("mounted: %v %v", ents, err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	wantLinks(t, s, img)
}
