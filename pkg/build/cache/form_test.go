// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

type fakeItem struct {
	kind, config, annotation string
	blobs                    []Blob
}

func (f fakeItem) Config() (string, []byte) { return f.kind, []byte(f.config) }
func (f fakeItem) Annotation(string) string { return f.annotation }
func (f fakeItem) Blobs() []Blob            { return f.blobs }
func (f fakeItem) Close() error             { return nil }
func (f fakeItem) Layer(context.Context, Blob, string, Layer) (Layer, error) {
	return Layer{}, errs.New(errs.Corrupt, "no such blob")
}

// What a cache says is written by others: whatever does not fit together is
// left out, and is never an index out of range.
func TestReadSteps(t *testing.T) {
	key, diff := strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	blob := Blob{Digest: "sha256:" + strings.Repeat("c", 64), Size: 1}
	file := func(steps ...Step) string {
		text, err := json.Marshal(File{Version: Version, Steps: steps})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	image := `{"rootfs":{"diff_ids":["` + diff + `"]}}`
	for _, tc := range []struct {
		name string
		item fakeItem
		want int // steps; -1: an error
	}{
		{"whole", fakeItem{ConfigType, file(Step{Key: key, DiffID: diff, Blob: blob.Digest}), "", []Blob{blob}}, 1},
		{"empty step", fakeItem{ConfigType, file(Step{Key: key, Empty: true}), "", nil}, 1},
		{"a blob that is not there", fakeItem{ConfigType, file(Step{Key: key, DiffID: diff, Blob: blob.Digest}), "", nil}, 0},
		{"no blob", fakeItem{ConfigType, file(Step{Key: key, DiffID: diff}), "", []Blob{blob}}, 0},
		{"no digest", fakeItem{ConfigType, file(Step{Key: key, DiffID: "../../x", Blob: blob.Digest}), "", []Blob{blob}}, 0},
		{"a key that is a path", fakeItem{ConfigType, file(Step{Key: "../../../etc/passwd", Empty: true}), "", nil}, 0},
		{"another version", fakeItem{ConfigType, `{"version":"x","steps":[]}`, "", nil}, -1},
		{"no JSON", fakeItem{ConfigType, `{`, "", nil}, -1},
		{"nothing", fakeItem{ConfigType, ``, "", nil}, -1},
		{"inline", fakeItem{"image", image, file(Step{Key: key, DiffID: diff}), []Blob{blob}}, 1},
		{"inline, another layer", fakeItem{"image", image, file(Step{Key: key, DiffID: "sha256:" + key}), []Blob{blob}}, 0},
		{"an image without a cache", fakeItem{"image", image, "", []Blob{blob}}, -1},
		{"layers and digests differ in number", fakeItem{"image", image, file(), nil}, -1},
		{"some other artifact", fakeItem{"application/x", `[]`, "", nil}, -1},
	} {
		got, err := ReadSteps(tc.item)
		if (err != nil) != (tc.want < 0) || err == nil && len(got) != tc.want {
			t.Errorf("%s: %d steps, %v; want %d", tc.name, len(got), err, tc.want)
		}
	}
}

func FuzzReadSteps(f *testing.F) {
	f.Add(`{"version":"`+Version+`","steps":[{"key":"x","diffID":"sha256:","blob":"sha256:"}]}`, `{"rootfs":{"diff_ids":["x"]}}`)
	f.Fuzz(func(t *testing.T, steps, config string) {
		for _, item := range []fakeItem{{ConfigType, steps, "", []Blob{{Digest: "sha256:"}}}, {"image", config, steps, []Blob{{Digest: "x"}}}} {
			known, err := ReadSteps(item)
			if err != nil {
				continue
			}
			for k, st := range known {
				if !stepKey.MatchString(k) || !st.Empty && st.Blob.Digest == "" {
					t.Errorf("took %q: %+v", k, st)
				}
			}
		}
	})
}
