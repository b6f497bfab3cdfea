// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/errs"
)

// keptItem is an item that is there, but for its layers.
type keptItem struct {
	kind, config, annotation string
	blobs                    []cache.Blob
}

func (k keptItem) Config() (string, []byte) { return k.kind, []byte(k.config) }
func (k keptItem) Annotation(string) string { return k.annotation }
func (k keptItem) Blobs() []cache.Blob      { return k.blobs }
func (k keptItem) Close() error             { return nil }
func (k keptItem) Layer(context.Context, cache.Blob, string, Layer) (Layer, error) {
	return Layer{}, errs.New(errs.Corrupt, "no such blob")
}

// cacheEngine has one remote cache, whose layers never come.
type cacheEngine struct {
	*dirEngine
	item keptItem
}

func (e *cacheEngine) OpenCache(context.Context, cache.Ref) ([]cache.Item, error) {
	return []cache.Item{e.item}, nil
}

func (e *cacheEngine) WriteCache(_ context.Context, _ cache.Ref, kind string, layers []cache.Content, config func([]cache.Blob) ([]byte, error)) error {
	var blobs []cache.Blob
	for _, l := range layers {
		blobs = append(blobs, cache.Blob{Digest: l.Layer.DiffID})
	}
	text, err := config(blobs)
	e.item = keptItem{kind, string(text), "", blobs}
	return err
}

// Keys are the same on another machine: another store, another directory,
// other times.
func TestKeysElsewhere(t *testing.T) {
	needRoot(t)
	df := "FROM base\nARG X=1\nRUN one $X\nCOPY a /a\nCOPY --link a /b\nWORKDIR /w\nRUN two\n"
	keys := func() []string {
		e := &cacheEngine{dirEngine: newDirEngine(t)}
		mustBuild(t, e, df, map[string]string{"a": "1"}, func(o *Options) {
			o.CacheTo = []cache.Spec{{Kind: cache.KindRegistry, Name: "x", Max: true}}
		})
		var f cache.File
		if err := json.Unmarshal([]byte(e.item.config), &f); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, st := range f.Steps {
			out = append(out, st.Key+" "+st.Command)
		}
		return out
	}
	one, two := keys(), keys()
	if len(one) < 6 || strings.Join(one, "\n") != strings.Join(two, "\n") {
		t.Errorf("keys differ:\n%s\n\n%s", strings.Join(one, "\n"), strings.Join(two, "\n"))
	}
}

// A cache that promises a layer and does not give it costs a second try, no
// more.
func TestBrokenPromise(t *testing.T) {
	needRoot(t)
	df := "FROM base\nRUN one\nRUN two\n"
	e := &cacheEngine{dirEngine: newDirEngine(t)}
	mustBuild(t, e, df, nil, func(o *Options) { o.CacheTo = []cache.Spec{{Kind: cache.KindRegistry, Name: "x"}} })
	other := &cacheEngine{dirEngine: newDirEngine(t), item: e.item}
	r, l := mustBuild(t, other, df, nil, func(o *Options) { o.CacheFrom = []cache.Spec{{Kind: cache.KindRegistry, Name: "x", Text: "x"}} })
	if len(other.runs) != 2 || len(r.Images) != 1 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0].Message, "no such blob") {
		t.Errorf("%d runs, %d images, warnings %v", len(other.runs), len(r.Images), r.Warnings)
	}
	if l.cached() < 3 { // the label of the base and both RUNs, in the first try
		t.Errorf("%d steps were known to the cache", l.cached())
	}
}

// Two platforms have a stage in common: it runs once, also without the cache.
func TestPlatformsShare(t *testing.T) {
	needRoot(t)
	df := `FROM --platform=$BUILDPLATFORM base AS b
RUN shared
ARG TARGETARCH
RUN own $TARGETARCH
FROM scratch
COPY --from=b /ran /ran
`
	for _, noCache := range []bool{false, true} {
		e := newDirEngine(t)
		r, _ := mustBuild(t, e, df, nil, func(o *Options) {
			o.Platforms, o.NoCache, o.Tags = []string{"linux/amd64", "linux/arm64", "linux/amd64"}, noCache, []string{"n"}
		})
		count := map[string]int{}
		for _, run := range e.runs {
			count[strings.Join(run.Container.Process.Args, " ")+" "+strings.Join(run.Container.Process.Env, " ")]++
		}
		if len(e.runs) != 3 {
			t.Errorf("no cache %v: %d runs, want 3: %v", noCache, len(e.runs), count)
		}
		if len(r.Images) != 2 || len(e.lists) != 1 || len(e.lists[0].Images) != 2 || e.lists[0].Names[0] != "n" {
			t.Errorf("images %v, lists %+v", r.Images, e.lists)
		}
	}
}
