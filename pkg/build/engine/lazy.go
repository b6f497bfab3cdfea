// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"sync"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/errs"
)

// Lazy is an Engine for layers that need not be in the store yet: a step
// that a remote cache knows, a COPY --link on another base. What a layer will
// be called follows from its parent and its content, so stages go on with the
// name; the content comes when something wants to see it. In a build that is
// cached to its end only the layers of the image come, none of other stages.
type Lazy struct {
	Engine
	mu      sync.Mutex
	pending map[string]*Pending // by id
}

// Pending is a layer that is to be made.
type Pending struct {
	Parent Layer
	Make   func(ctx context.Context) (Layer, error)
	Source cache.Content // where its content lies until then
	Gone   bool          // nowhere

	mu sync.Mutex // held while it is made
}

// NewLazy makes a Lazy over an engine; nothing is pending.
func NewLazy(e Engine) *Lazy { return &Lazy{Engine: e, pending: map[string]*Pending{}} }

// Has says whether a layer is in the store, or can be made.
func (e *Lazy) Has(id string) bool {
	e.mu.Lock()
	_, ok := e.pending[id]
	e.mu.Unlock()
	return ok || e.Engine.LayerExists(id)
}

// Add promises a layer under an id; the first promise counts.
func (e *Lazy) Add(id string, p *Pending) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pending[id] == nil {
		e.pending[id] = p
	}
}

func (e *Lazy) get(id string) *Pending {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pending[id]
}

// Forget drops what was not made.
func (e *Lazy) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending = map[string]*Pending{}
}

// Content is where the bytes of a layer can be read now; ok is false where they
// cannot.
func (e *Lazy) Content(l Layer) (c cache.Content, ok bool) {
	if p := e.get(l.ID); p != nil && !e.Engine.LayerExists(l.ID) {
		return p.Source, !p.Gone
	}
	return cache.Content{Layer: l}, true
}

// need makes a layer and those below it.
func (e *Lazy) need(ctx context.Context, l Layer) error {
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
	if err := e.need(ctx, p.Parent); err != nil {
		return err
	}
	got, err := p.Make(ctx)
	if err == nil && got.ID != l.ID {
		err = errs.New(errs.Internal, "layer %s came as %s", l.ID, got.ID)
	}
	return err
}

// NewScratch implements Engine.
func (e *Lazy) NewScratch(ctx context.Context, parent Layer) (Scratch, error) {
	if err := e.need(ctx, parent); err != nil {
		return nil, err
	}
	return e.Engine.NewScratch(ctx, parent)
}

// NewDetached implements Engine.
func (e *Lazy) NewDetached(ctx context.Context, parent Layer) (Scratch, error) {
	if err := e.need(ctx, parent); err != nil {
		return nil, err
	}
	return e.Engine.NewDetached(ctx, parent)
}

// MountLayer implements Engine.
func (e *Lazy) MountLayer(ctx context.Context, top Layer) (string, func() error, error) {
	if err := e.need(ctx, top); err != nil {
		return "", nil, err
	}
	return e.Engine.MountLayer(ctx, top)
}

// CreateImage implements Engine.
func (e *Lazy) CreateImage(ctx context.Context, s ImageSpec) (string, []string, error) {
	if err := e.need(ctx, s.Top); err != nil {
		return "", nil, err
	}
	return e.Engine.CreateImage(ctx, s)
}
