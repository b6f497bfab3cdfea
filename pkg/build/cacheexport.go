// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/errs"
)

// doneStep is a step of this build, for --cache-to.
type doneStep struct {
	cache.Record
	key   string
	owner *builder
	stage *dockerfile.Stage
}

func (s *stage) note(key string, r cache.Record) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.done = append(s.b.done, doneStep{r, key, s.b, s.plan})
}

// inImage says whether a step is one of those that the image is made of.
func (d *doneStep) inImage() bool {
	for st := d.owner.plan.Target; st != nil; st = st.BaseFrom {
		if st == d.stage {
			return true
		}
	}
	return false
}

// stepsFor selects what a cache gets, each step once.
func (b *session) stepsFor(c cache.Spec) []doneStep {
	var out []doneStep
	seen := map[string]bool{}
	for _, d := range b.done {
		if !seen[d.key] && (c.Max || c.Kind == cache.KindSteps || d.inImage()) {
			seen[d.key] = true
			out = append(out, d)
		}
	}
	return out
}

// exportCaches writes what --cache-to names.
func (b *session) exportCaches(ctx context.Context) error {
	for _, c := range b.o.CacheTo {
		var left int
		var err error
		switch c.Kind {
		case cache.KindInline: // is in the image
		case cache.KindSteps:
			left, err = b.exportSteps(ctx, c)
		default:
			left, err = b.exportArtifact(ctx, c.Ref(), b.stepsFor(c))
		}
		if err == nil {
			b.tellLeftOut(c, left)
			continue
		}
		err = errs.Wrap(err, "export the build cache", c.Text)
		if !c.IgnoreError || ctx.Err() != nil {
			return err
		}
		b.warn(Warning{Message: err.Error()})
	}
	return nil
}

// tellLeftOut says that a cache is not all of what was asked for: whoever builds
// from it would wonder why steps run again.
func (b *session) tellLeftOut(c cache.Spec, left int) {
	if left == 0 {
		return
	}
	b.warn(Warning{Message: fmt.Sprintf("the build cache %s is without %d of the steps: their layers are in an imported cache only and were never fetched; "+
		"a build with --no-cache makes them", c.Text, left)})
}

// exportSteps writes an artifact for each step that has none. It returns how
// many steps were left out.
func (b *session) exportSteps(ctx context.Context, c cache.Spec) (left int, err error) {
	for _, d := range b.stepsFor(c) {
		ref := cache.Ref{Name: c.Name + ":" + d.key}
		items, err := b.engine.OpenCache(ctx, ref)
		if err == nil {
			known, rerr := cache.ReadSteps(items[0])
			for _, item := range items {
				_ = item.Close() // only read from
			}
			if rerr == nil && known[d.key] != nil {
				continue
			}
		} else if !errs.Is(err, errs.NotFound) {
			return left, err
		}
		n, err := b.exportArtifact(ctx, ref, []doneStep{d})
		if err != nil {
			return left, err
		}
		left += n
	}
	return left, nil
}

func (b *session) exportArtifact(ctx context.Context, ref cache.Ref, steps []doneStep) (left int, err error) {
	have, done := b.existing(ctx, ref)
	defer done()
	layers, at := b.layersOf(steps, have)
	left = len(steps)
	steps = slices.DeleteFunc(steps, func(d doneStep) bool {
		_, ok := at[d.Layer.DiffID]
		return !ok && !d.Empty // never fetched, and not there either
	})
	left -= len(steps)
	return left, b.engine.WriteCache(ctx, ref, cache.ConfigType, layers, func(blobs []cache.Blob) ([]byte, error) {
		f := cache.File{Version: cache.Version, Steps: []cache.Step{}}
		for _, d := range steps {
			st := d.entry()
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
func (b *session) layersOf(steps []doneStep, have map[string]cache.Blob) (layers []cache.Content, at map[string]int) {
	at = map[string]int{}
	for _, d := range steps {
		if _, ok := at[d.Layer.DiffID]; ok || d.Empty {
			continue
		}
		l, ok := b.layers.content(d.Layer)
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

func (d *doneStep) entry() cache.Step {
	st := cache.Step{Key: d.key, Empty: d.Empty, Command: d.Command, Created: d.Created}
	if !d.Empty {
		st.DiffID, st.Size = d.Layer.DiffID, d.Layer.Size
	}
	return st
}

// existing is what the artifact that will be replaced has: its blobs are not
// sent again.
func (b *session) existing(ctx context.Context, ref cache.Ref) (map[string]cache.Blob, func()) {
	have := map[string]cache.Blob{}
	items, err := b.engine.OpenCache(ctx, ref)
	if err != nil {
		return have, func() {}
	}
	for _, item := range items {
		known, err := cache.ReadSteps(item)
		if err != nil {
			continue
		}
		for _, st := range known {
			if !st.Empty {
				have[st.Layer.DiffID] = st.Blob
			}
		}
	}
	return have, func() {
		for _, item := range items {
			_ = item.Close() // only read from
		}
	}
}

// inlineCache adds the steps of the image to its annotations, where that was
// asked for.
func (b *builder) inlineCache(annotations *map[string]string, diffIDs []string) error {
	if !slices.ContainsFunc(b.o.CacheTo, func(c cache.Spec) bool { return c.Kind == cache.KindInline }) {
		return nil
	}
	f := cache.File{Version: cache.Version, Steps: []cache.Step{}}
	b.mu.Lock()
	for i := range b.done {
		d := &b.done[i]
		if d.owner == b && d.inImage() && (d.Empty || slices.Contains(diffIDs, d.Layer.DiffID)) {
			f.Steps = append(f.Steps, d.entry())
		}
	}
	b.mu.Unlock()
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("cannot write the inline cache: %w", err)
	}
	*annotations = cloneMap(*annotations)
	setDefault(annotations, cache.Annotation, string(text))
	return nil
}
