// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/proa-containers/proa/pkg/errs"
)

// Writer makes artifacts of layers and a configuration, which is asked for once the
// blobs of the layers are known. It replaces what is there when all is written.
type Writer interface {
	Opener
	WriteCache(ctx context.Context, ref Ref, configType string, layers []Content, config func([]Blob) ([]byte, error)) error
}

// Done is a step that a build did, or found known.
type Done struct {
	Record
	Key string
}

// Entry is the step as an exported cache has it, without its blob.
func (d *Done) Entry() Step {
	st := Step{Key: d.Key, Empty: d.Empty, Command: d.Command, Created: d.Created, Content: d.Content}
	if !d.Empty {
		st.DiffID, st.Size = d.Layer.DiffID, d.Layer.Size
	}
	return st
}

// ContentOf says where the bytes of a layer can be read now; ok is false where they
// cannot.
type ContentOf func(Layer) (c Content, ok bool)

// ExportSteps writes an artifact REPOSITORY:KEY for each step that has none there.
// It returns how many steps were left out, since their layers are nowhere.
func ExportSteps(ctx context.Context, to Writer, repository string, steps []Done, of ContentOf) (left int, err error) {
	for _, d := range steps {
		ref := Ref{Name: repository + ":" + d.Key}
		items, err := to.OpenCache(ctx, ref)
		if err == nil {
			known, rerr := ReadSteps(items[0])
			closeItems(items)
			if rerr == nil && known[d.Key] != nil {
				continue
			}
		} else if !errs.Is(err, errs.NotFound) {
			return left, err
		}
		n, err := Export(ctx, to, ref, []Done{d}, of)
		if err != nil {
			return left, err
		}
		left += n
	}
	return left, nil
}

// Export writes steps as one artifact. It returns how many were left out, since
// their layers are nowhere.
func Export(ctx context.Context, to Writer, ref Ref, steps []Done, of ContentOf) (left int, err error) {
	have, done := existing(ctx, to, ref)
	defer done()
	layers, at := layersOf(steps, have, of)
	kept := slices.DeleteFunc(slices.Clone(steps), func(d Done) bool {
		_, ok := at[d.Layer.DiffID]
		return !ok && !d.Empty // never fetched, and not there either
	})
	return len(steps) - len(kept), to.WriteCache(ctx, ref, ConfigType, layers, func(blobs []Blob) ([]byte, error) {
		f := File{Version: Version, Steps: []Step{}}
		for _, d := range kept {
			st := d.Entry()
			if !d.Empty {
				st.Blob = blobs[at[d.Layer.DiffID]].Digest
			}
			f.Steps = append(f.Steps, st)
		}
		return json.Marshal(f)
	})
}

// layersOf lists the layers of steps, and tells each one's place by what it
// unpacks to.
func layersOf(steps []Done, have map[string]Blob, of ContentOf) (layers []Content, at map[string]int) {
	at = map[string]int{}
	for _, d := range steps {
		if _, ok := at[d.Layer.DiffID]; ok || d.Empty {
			continue
		}
		l, ok := of(d.Layer)
		if l.From == nil {
			l.Blob = have[d.Layer.DiffID]
		}
		if !ok && l.Blob.Digest == "" {
			continue
		}
		at[d.Layer.DiffID] = len(layers)
		layers = append(layers, l)
	}
	return layers, at
}

// existing is what the artifact that will be replaced has: its blobs are not
// sent again.
func existing(ctx context.Context, from Opener, ref Ref) (map[string]Blob, func()) {
	have := map[string]Blob{}
	items, err := from.OpenCache(ctx, ref)
	if err != nil {
		return have, func() {}
	}
	for _, item := range items {
		known, err := ReadSteps(item)
		if err != nil {
			continue
		}
		for _, st := range known {
			if !st.Empty {
				have[st.Layer.DiffID] = st.Blob
			}
		}
	}
	return have, func() { closeItems(items) }
}

func closeItems(items []Item) {
	for _, item := range items {
		_ = item.Close() // only read from
	}
}
