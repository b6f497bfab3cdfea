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
	cache.Done
	owner *builder
	stage *dockerfile.Stage
}

func (s *stage) note(key string, r cache.Record) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.done = append(s.b.done, doneStep{cache.Done{Record: r, Key: key}, s.b, s.plan})
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
func (b *session) stepsFor(c cache.Spec) []cache.Done {
	var out []cache.Done
	seen := map[string]bool{}
	for _, d := range b.done {
		if !seen[d.Key] && (c.Max || c.Kind == cache.KindSteps || d.inImage()) {
			seen[d.Key] = true
			out = append(out, d.Done)
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
			left, err = cache.ExportSteps(ctx, b.engine, c.Name, b.stepsFor(c), b.layers.Content)
		default:
			left, err = cache.Export(ctx, b.engine, c.Ref(), b.stepsFor(c), b.layers.Content)
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
			f.Steps = append(f.Steps, d.Entry())
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
