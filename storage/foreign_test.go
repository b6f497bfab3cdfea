// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestParseForeign(t *testing.T) {
	s := newStore(t, "")
	for in, want := range map[string]foreign{
		"[overlay@/g+/r:overlay.a=b,c=d]alpine:1": {driver: "overlay", graph: "/g", run: "/r", options: []string{"overlay.a=b", "c=d"}, image: "alpine:1"},
		"[/g]x":            {driver: "overlay", graph: "/g", run: "/g-run", image: "x"},
		"[vfs@/g+/r]x@y]z": {driver: "vfs", graph: "/g", run: "/r", image: "x@y]z"},
	} {
		f, err := s.parseForeign(in)
		if err != nil || f.driver != want.driver || f.graph != want.graph || f.run != want.run || !slices.Equal(f.options, want.options) || f.image != want.image {
			t.Errorf("%s: got %+v, %v", in, f, err)
		}
	}
	for _, in := range []string{"", "[/g]", "[/g", "[overlay@g]x", "[overlay@" + s.root + "]x"} {
		if f, err := s.parseForeign(in); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: got %+v, %v", in, f, err)
		}
	}
	// storage.conf is what the user said, not what Proa's own store reads.
	f, err := s.parseForeign("x")
	if err != nil || filepath.Base(f.graph) != "storage" || filepath.Base(filepath.Dir(f.graph)) != "containers" {
		if f == nil || f.graph != "/var/lib/containers/storage" { // as real root
			t.Errorf("got %+v, %v", f, err)
		}
	}
}
