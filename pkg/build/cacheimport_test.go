// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

type fakeItem struct {
	kind, config, annotation string
	blobs                    []CacheBlob
}

func (f fakeItem) Config() (string, []byte) { return f.kind, []byte(f.config) }
func (f fakeItem) Annotation(string) string { return f.annotation }
func (f fakeItem) Blobs() []CacheBlob       { return f.blobs }
func (f fakeItem) Close() error             { return nil }
func (f fakeItem) Layer(context.Context, CacheBlob, string, Layer) (Layer, error) {
	return Layer{}, errs.New(errs.Corrupt, "no such blob")
}

// What a cache says is written by others: whatever does not fit together is
// left out, and is never an index out of range.
func TestReadSteps(t *testing.T) {
	key, diff := strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	blob := CacheBlob{Digest: "sha256:" + strings.Repeat("c", 64), Size: 1}
	file := func(steps ...cacheStep) string { return jsonText(cacheFile{Version: keyVersion, Steps: steps}) }
	image := `{"rootfs":{"diff_ids":["` + diff + `"]}}`
	for _, tc := range []struct {
		name string
		item fakeItem
		want int // steps; -1: an error
	}{
		{"whole", fakeItem{cacheConfigType, file(cacheStep{Key: key, DiffID: diff, Blob: blob.Digest}), "", []CacheBlob{blob}}, 1},
		{"empty step", fakeItem{cacheConfigType, file(cacheStep{Key: key, Empty: true}), "", nil}, 1},
		{"a blob that is not there", fakeItem{cacheConfigType, file(cacheStep{Key: key, DiffID: diff, Blob: blob.Digest}), "", nil}, 0},
		{"no blob", fakeItem{cacheConfigType, file(cacheStep{Key: key, DiffID: diff}), "", []CacheBlob{blob}}, 0},
		{"no digest", fakeItem{cacheConfigType, file(cacheStep{Key: key, DiffID: "../../x", Blob: blob.Digest}), "", []CacheBlob{blob}}, 0},
		{"a key that is a path", fakeItem{cacheConfigType, file(cacheStep{Key: "../../../etc/passwd", Empty: true}), "", nil}, 0},
		{"another version", fakeItem{cacheConfigType, `{"version":"x","steps":[]}`, "", nil}, -1},
		{"no JSON", fakeItem{cacheConfigType, `{`, "", nil}, -1},
		{"nothing", fakeItem{cacheConfigType, ``, "", nil}, -1},
		{"inline", fakeItem{"image", image, file(cacheStep{Key: key, DiffID: diff}), []CacheBlob{blob}}, 1},
		{"inline, another layer", fakeItem{"image", image, file(cacheStep{Key: key, DiffID: "sha256:" + key}), []CacheBlob{blob}}, 0},
		{"an image without a cache", fakeItem{"image", image, "", []CacheBlob{blob}}, -1},
		{"layers and digests differ in number", fakeItem{"image", image, file(), nil}, -1},
		{"some other artifact", fakeItem{"application/x", `[]`, "", nil}, -1},
	} {
		got, err := readSteps(tc.item)
		if (err != nil) != (tc.want < 0) || err == nil && len(got) != tc.want {
			t.Errorf("%s: %d steps, %v; want %d", tc.name, len(got), err, tc.want)
		}
	}
}

func FuzzReadSteps(f *testing.F) {
	f.Add(`{"version":"`+keyVersion+`","steps":[{"key":"x","diffID":"sha256:","blob":"sha256:"}]}`, `{"rootfs":{"diff_ids":["x"]}}`)
	f.Fuzz(func(t *testing.T, steps, config string) {
		for _, item := range []fakeItem{{cacheConfigType, steps, "", []CacheBlob{{Digest: "sha256:"}}}, {"image", config, steps, []CacheBlob{{Digest: "x"}}}} {
			known, err := readSteps(item)
			if err != nil {
				continue
			}
			for k, st := range known {
				if !stepKey.MatchString(k) || !st.Empty && st.blob.Digest == "" {
					t.Errorf("took %q: %+v", k, st)
				}
			}
		}
	})
}

// cacheEngine has one remote cache, whose layers never come.
type cacheEngine struct {
	*dirEngine
	item fakeItem
}

func (e *cacheEngine) OpenCache(context.Context, CacheRef) ([]CacheItem, error) {
	return []CacheItem{e.item}, nil
}

func (e *cacheEngine) WriteCache(_ context.Context, _ CacheRef, kind string, layers []CacheLayer, config func([]CacheBlob) ([]byte, error)) error {
	var blobs []CacheBlob
	for _, l := range layers {
		blobs = append(blobs, CacheBlob{Digest: l.Layer.DiffID})
	}
	text, err := config(blobs)
	e.item = fakeItem{kind, string(text), "", blobs}
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
			o.CacheTo = []CacheSpec{{Kind: CacheRegistry, Name: "x", Max: true}}
		})
		var f cacheFile
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
	mustBuild(t, e, df, nil, func(o *Options) { o.CacheTo = []CacheSpec{{Kind: CacheRegistry, Name: "x"}} })
	other := &cacheEngine{dirEngine: newDirEngine(t), item: e.item}
	r, l := mustBuild(t, other, df, nil, func(o *Options) { o.CacheFrom = []CacheSpec{{Kind: CacheRegistry, Name: "x", Text: "x"}} })
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
