// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"sync"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/errs"
)

// lazyEngine is an Engine for layers that need not be in the store yet: a step
// that a remote cache knows, a COPY --link on another base. What a layer will
// be called follows from its parent and its content, so stages go on with the
// name; the content comes when something wants to see it. In a build that is
// cached to its end only the layers of the image come, none of other stages.
type lazyEngine struct {
	Engine
	mu      sync.Mutex
	pending map[string]*pendingLayer // by id
}

// pendingLayer is a layer that is to be made.
type pendingLayer struct {
	mu     sync.Mutex // held while it is made
	parent Layer
	make   func(ctx context.Context) (Layer, error)
	source cache.Content // where its content lies until then
	gone   bool          // nowhere
}

// has says whether a layer is in the store, or can be made.
func (e *lazyEngine) has(id string) bool {
	e.mu.Lock()
	_, ok := e.pending[id]
	e.mu.Unlock()
	return ok || e.Engine.LayerExists(id)
}

func (e *lazyEngine) add(id string, p *pendingLayer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pending[id] == nil {
		e.pending[id] = p
	}
}

func (e *lazyEngine) get(id string) *pendingLayer {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pending[id]
}

// forget drops what was not made.
func (e *lazyEngine) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending = map[string]*pendingLayer{}
}

// content is where the bytes of a layer can be read now; ok is false where they
// cannot.
func (e *lazyEngine) content(l Layer) (c cache.Content, ok bool) {
	if p := e.get(l.ID); p != nil && !e.Engine.LayerExists(l.ID) {
		return p.source, !p.gone
	}
	return cache.Content{Layer: l}, true
}

// need makes a layer and those below it.
func (e *lazyEngine) need(ctx context.Context, l Layer) error {
	if l.ID == "" || e.Engine.LayerExists(l.ID) {
		return nil
	}
	p := e.get(l.ID)
	if p == nil {
		return errs.New(errs.NotFound, "layer %s is not in the store any more", l.ID)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Engine.LayerExists(l.ID) {
		return nil
	}
	if err := e.need(ctx, p.parent); err != nil {
		return err
	}
	got, err := p.make(ctx)
	if err == nil && got.ID != l.ID {
		err = errs.New(errs.Internal, "layer %s came as %s", l.ID, got.ID)
	}
	return err
}

// NewScratch implements Engine.
func (e *lazyEngine) NewScratch(ctx context.Context, parent Layer) (Scratch, error) {
	if err := e.need(ctx, parent); err != nil {
		return nil, err
	}
	return e.Engine.NewScratch(ctx, parent)
}

// NewDetached implements Engine.
func (e *lazyEngine) NewDetached(ctx context.Context, parent Layer) (Scratch, error) {
	if err := e.need(ctx, parent); err != nil {
		return nil, err
	}
	return e.Engine.NewDetached(ctx, parent)
}

// MountLayer implements Engine.
func (e *lazyEngine) MountLayer(ctx context.Context, top Layer) (string, func() error, error) {
	if err := e.need(ctx, top); err != nil {
		return "", nil, err
	}
	return e.Engine.MountLayer(ctx, top)
}

// CreateImage implements Engine.
func (e *lazyEngine) CreateImage(ctx context.Context, s ImageSpec) (string, []string, error) {
	if err := e.need(ctx, s.Top); err != nil {
		return "", nil, err
	}
	return e.Engine.CreateImage(ctx, s)
}
