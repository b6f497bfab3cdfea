// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/errs"
)

// openCaches reads what --cache-from names. One that cannot be read is a
// warning: a cache only saves time.
func (b *session) openCaches(ctx context.Context) {
	for _, spec := range b.o.CacheFrom {
		b.sources = append(b.sources, cache.OpenSource(ctx, spec, b.engine, func(err error) {
			b.warn(Warning{Message: fmt.Sprintf("cannot import the build cache %s: %v", spec.Text, err)})
		}))
	}
}

func (b *session) closeCaches() {
	for _, src := range b.sources {
		src.Close()
	}
}

// lostLayer is the error of a layer that a cache promised and did not give.
type lostLayer struct {
	source *cache.Source // nil: the own one
	err    error
}

func (l *lostLayer) Error() string { return l.err.Error() }
func (l *lostLayer) Unwrap() error { return l.err }

// lookup finds a step in the own cache, else in those of --cache-from.
func (s *stage) lookup(ctx context.Context, key string, link bool) (cache.Record, bool) {
	own, known := s.b.cache.Get(key)
	known = known && s.fresh(own)
	if known && s.place(&own, link) {
		return own, true
	}
	for _, src := range s.b.sources {
		st := src.Get(ctx, key)
		if st == nil || !s.fresh(st.Record) {
			continue
		}
		r := st.Record
		r.Imported = true
		if !r.Empty {
			s.promise(&r, src, st)
		}
		// The next build finds it here, if the layer came.
		if err := s.b.cache.Put(key, r); err != nil {
			src.Warn(err)
		}
		return r, true
	}
	if known && own.Imported && !s.b.strict {
		s.trust(&own)
		return own, true
	}
	return cache.Record{}, false
}

// trust goes on with a step whose layer never came here: what follows may be
// known too. If not, the build is done again without such steps.
func (s *stage) trust(r *cache.Record) {
	parent := s.top
	r.Layer.ID = s.b.engine.LayerID(parent, r.Layer.DiffID)
	s.b.layers.Add(r.Layer.ID, &engine.Pending{Parent: parent, Gone: true, Make: func(context.Context) (Layer, error) {
		return Layer{}, &lostLayer{nil, errs.New(errs.NotFound, "a layer of the build cache was never fetched")}
	}})
}

// fresh says whether a step is young enough for --cache-ttl.
func (s *stage) fresh(r cache.Record) bool {
	return s.b.o.CacheTTL == 0 || s.b.start.Sub(r.Created) < s.b.o.CacheTTL
}

// place says what a known step's layer is called here. It fails where the layer
// is gone, or was made on another parent: only the layer of a link can move.
func (s *stage) place(r *cache.Record, link bool) bool {
	if r.Empty {
		return true
	}
	id := s.b.engine.LayerID(s.top, r.Layer.DiffID)
	if s.b.layers.Has(id) {
		r.Layer.ID = id
		return true
	}
	if !link {
		return false
	}
	from := r.Layer
	if !s.b.engine.LayerExists(from.ID) {
		var ok bool
		if from, ok = s.b.engine.FindLayer(r.Layer.DiffID); !ok {
			return false
		}
	}
	parent, diffID := s.top, r.Layer.DiffID
	s.b.layers.Add(id, &engine.Pending{Parent: parent, Source: cache.Content{Layer: from}, Make: func(ctx context.Context) (Layer, error) {
		return s.b.engine.CopyLayer(ctx, diffID, parent)
	}})
	r.Layer.ID = id
	return true
}

// promise names the layer of a step that a remote cache has.
func (s *stage) promise(r *cache.Record, src *cache.Source, st *cache.Known) {
	parent, diffID := s.top, r.Layer.DiffID
	r.Layer.ID = s.b.engine.LayerID(parent, diffID)
	s.b.layers.Add(r.Layer.ID, &engine.Pending{
		Parent: parent, Source: cache.Content{From: st.Item, Blob: st.Blob},
		Make: func(ctx context.Context) (Layer, error) {
			l, err := st.Item.Layer(ctx, st.Blob, diffID, parent)
			if err != nil && ctx.Err() == nil {
				err = &lostLayer{src, err}
			}
			return l, err
		},
	})
}

// giveUp takes a cache that broke its promise out of the build, which can then
// be done again. It reports whether err was such a failure.
func (b *session) giveUp(err error) bool {
	var lost *lostLayer
	if !errors.As(err, &lost) {
		return false
	}
	if lost.source == nil {
		b.strict = true
	} else {
		lost.source.Fail(lost.err)
	}
	b.layers.Forget()
	b.shared.forget()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = nil
	for k, l := range b.trees {
		if !l.Opened() && strings.HasPrefix(k, "stage:") {
			delete(b.trees, k) // of a layer that does not come
		}
	}
	return true
}
