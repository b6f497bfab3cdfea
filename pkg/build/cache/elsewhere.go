// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"sync"

	"github.com/proa-containers/proa/pkg/errs"
)

// Source is a cache that steps are looked up in.
type Source struct {
	spec Spec
	from Opener
	Warn func(error)

	mu    sync.Mutex
	off   bool // it failed
	items []Item
	steps map[string]*Known // nil values: asked, and not known
}

// Opener opens a build cache, or an image that may have one inside: of a list
// all images. Kind NotFound: there is none.
type Opener interface {
	OpenCache(ctx context.Context, ref Ref) ([]Item, error)
}

// OpenSource reads the cache that spec names. What it cannot read it tells warn,
// and goes without: a cache only saves time. The caller closes it.
func OpenSource(ctx context.Context, spec Spec, from Opener, warn func(error)) *Source {
	c := &Source{spec: spec, from: from, Warn: warn, steps: map[string]*Known{}}
	if spec.Kind != KindSteps {
		c.load(ctx, spec.Ref())
	}
	return c
}

// Close gives back what was opened; nothing of it is read any more.
func (c *Source) Close() {
	for _, item := range c.items {
		_ = item.Close() // only read from
	}
}

// load reads the steps of one artifact; the caller holds no lock or is alone.
func (c *Source) load(ctx context.Context, ref Ref) {
	items, err := c.from.OpenCache(ctx, ref)
	if err != nil {
		if c.spec.Kind != KindSteps || !errs.Is(err, errs.NotFound) {
			c.off = true
			c.Warn(err)
		}
		return
	}
	c.items = append(c.items, items...)
	found := false
	for _, item := range items {
		known, err := ReadSteps(item)
		if err != nil {
			c.Warn(err)
			continue
		}
		found = true
		for k, st := range known {
			c.steps[k] = st
		}
	}
	if !found && len(items) > 0 {
		c.off = true
	}
}

// Get looks a step up.
func (c *Source) Get(ctx context.Context, key string) *Known {
	c.mu.Lock()
	defer c.mu.Unlock()
	st, asked := c.steps[key]
	if c.off || asked || c.spec.Kind != KindSteps {
		if c.off {
			return nil
		}
		return st
	}
	c.load(ctx, Ref{Name: c.spec.Name + ":" + key})
	if _, ok := c.steps[key]; !ok {
		c.steps[key] = nil
	}
	return c.steps[key]
}

// Fail tells of an error, and takes the cache out of use.
func (c *Source) Fail(err error) {
	c.mu.Lock()
	c.off = true
	c.mu.Unlock()
	c.Warn(err)
}
