// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
)

// A build's oci-layout:// is read like any other OCI directory: nothing huge of
// it comes into memory.
func TestHostileLayout(t *testing.T) {
	layer := string(tarOf(t, file("a", "b")))
	big := func(name string) *entry { e := file(name, `["`+strings.Repeat("x", 9<<20)+`"]`); return &e }
	for name, c := range map[string]struct {
		change func(files map[string]*entry, m *imgspec.Manifest, ix *imgspec.Index)
		says   string // empty: it is read
	}{
		"good":          {func(map[string]*entry, *imgspec.Manifest, *imgspec.Index) {}, ""},
		"huge index":    {func(f map[string]*entry, _ *imgspec.Manifest, _ *imgspec.Index) { f["index"] = big("index.json") }, "index.json has"},
		"huge manifest": {func(f map[string]*entry, _ *imgspec.Manifest, _ *imgspec.Index) { f["manifest"] = big("x") }, "at most"},
		"a path as digest": {func(_ map[string]*entry, _ *imgspec.Manifest, ix *imgspec.Index) {
			ix.Manifests = []imgspec.Descriptor{{MediaType: ociManifest, Digest: "sha256:../../../../etc/passwd", Size: 8}}
		}, "invalid digest"},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t, ""), t.TempDir()
			for _, e := range ociSave(layer, c.change) {
				to := filepath.Join(dir, e.h.Name)
				if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(to, []byte(e.body), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := s.PullLayout(context.Background(), dir, PullOptions{})
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if k := errs.KindOf(err); k != errs.Invalid && k != errs.Corrupt || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v (%v)", err, k)
			}
		})
	}
}
