// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

// shelf keeps artifacts by name.
type shelf struct {
	items map[string]fakeItem
	wrote [][]Content
	err   error
}

func (s *shelf) OpenCache(_ context.Context, ref Ref) ([]Item, error) {
	if s.err != nil {
		return nil, s.err
	}
	item, ok := s.items[ref.Name]
	if !ok {
		return nil, errs.New(errs.NotFound, "no %s", ref.Name)
	}
	return []Item{item}, nil
}

func (s *shelf) WriteCache(_ context.Context, ref Ref, kind string, layers []Content, config func([]Blob) ([]byte, error)) error {
	blobs := make([]Blob, len(layers))
	for i, l := range layers {
		blobs[i] = Blob{Digest: blobDigest(l.Layer.DiffID)}
		if l.Blob.Digest != "" {
			blobs[i] = l.Blob
		}
	}
	text, err := config(blobs)
	if err != nil {
		return err
	}
	s.wrote = append(s.wrote, layers)
	s.items[ref.Name] = fakeItem{kind, string(text), "", blobs}
	return nil
}

func blobDigest(diffID string) string { return strings.Replace(diffID, "sha256:", "sha256:b", 1) }

func digestLike(c string) string { return "sha256:" + strings.Repeat(c, 64) }

func done(key, diff string) Done {
	d := Done{Key: strings.Repeat(key, 64)}
	d.Command = "RUN " + key
	if d.Empty = diff == ""; !d.Empty {
		d.Layer = Layer{ID: diff, DiffID: digestLike(diff), Size: 7}
	}
	return d
}

// steps are the keys that an artifact knows, by their first letter.
func (s *shelf) steps(t *testing.T, name string) string {
	t.Helper()
	known, err := ReadSteps(s.items[name])
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for k, st := range known {
		if !st.Empty && (st.Blob.Digest == "" || st.Layer.Size != 7) {
			t.Errorf("%s: %+v", k[:1], st)
		}
		out = append(out, k[:1])
	}
	slices.Sort(out)
	return strings.Join(out, "")
}

// What was exported is what ReadSteps finds. A layer that is nowhere is left out,
// unless the artifact has it already; two steps share one layer.
func TestExport(t *testing.T) {
	s := &shelf{items: map[string]fakeItem{}}
	here := func(l Layer) (Content, bool) { return Content{Layer: l}, l.ID != "9" }
	steps := []Done{done("a", "1"), done("b", ""), done("c", "1"), done("d", "9"), done("e", "2")}
	left, err := Export(context.Background(), s, Ref{Name: "x"}, steps, here)
	if err != nil || left != 1 {
		t.Fatalf("left out %d, %v", left, err)
	}
	if got := s.steps(t, "x"); got != "abce" || len(s.wrote[0]) != 2 {
		t.Errorf("steps %s, layers %v", got, s.wrote[0])
	}
	if len(steps) != 5 || steps[3].Key[:1] != "d" {
		t.Errorf("the caller's list became %v", steps)
	}
	// Now its layer is gone here, and the artifact has it.
	nowhere := func(Layer) (Content, bool) { return Content{}, false }
	left, err = Export(context.Background(), s, Ref{Name: "x"}, steps[:1], nowhere)
	if err != nil || left != 0 || s.steps(t, "x") != "a" {
		t.Errorf("from the artifact itself: left out %d, %v", left, err)
	}
}

func TestExportSteps(t *testing.T) {
	s := &shelf{items: map[string]fakeItem{}}
	here := func(l Layer) (Content, bool) { return Content{Layer: l}, l.ID != "9" }
	steps := []Done{done("a", "1"), done("b", ""), done("d", "9")}
	for round, writes := range []int{3, 4} { // the second time only what has no layer
		left, err := ExportSteps(context.Background(), s, "repo", steps, here)
		if err != nil || left != 1 {
			t.Fatalf("left out %d, %v", left, err)
		}
		if len(s.wrote) != writes {
			t.Errorf("round %d: %d artifacts were written", round, len(s.wrote))
		}
	}
	if got := s.steps(t, "repo:"+steps[0].Key) + s.steps(t, "repo:"+steps[1].Key); got != "ab" {
		t.Errorf("steps %s", got)
	}
	s.err = errors.New("the registry is on fire")
	if _, err := ExportSteps(context.Background(), s, "repo", steps, here); !errors.Is(err, s.err) {
		t.Errorf("got %v", err)
	}
}
