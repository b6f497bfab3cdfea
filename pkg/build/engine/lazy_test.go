// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/errs"
)

// store is an engine that has layers and starts others on them.
type store struct {
	Engine
	mu     sync.Mutex
	layers []string
}

func (s *store) LayerExists(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.layers, id)
}

func (s *store) made(id string) func(context.Context) (Layer, error) {
	return func(context.Context) (Layer, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.layers = append(s.layers, id)
		return Layer{ID: id}, nil
	}
}

func (s *store) NewScratch(_ context.Context, parent Layer) (Scratch, error) {
	if parent.ID != "" && !s.LayerExists(parent.ID) {
		return nil, errors.New("no layer " + parent.ID)
	}
	return nil, nil
}

// What is promised is made when something stands on it: from below, and once.
func TestLazy(t *testing.T) {
	s := &store{layers: []string{"base"}}
	e := NewLazy(s)
	e.Add("one", &Pending{Parent: Layer{ID: "base"}, Make: s.made("one")})
	e.Add("two", &Pending{Parent: Layer{ID: "one"}, Make: s.made("two")})
	e.Add("two", &Pending{Make: func(context.Context) (Layer, error) { return Layer{}, errors.New("the second promise") }})
	e.Add("other", &Pending{Parent: Layer{ID: "base"}, Make: s.made("other")})
	for id, want := range map[string]bool{"base": true, "one": true, "two": true, "three": false} {
		if got := e.Has(id); got != want {
			t.Errorf("Has(%s) is %v", id, got)
		}
	}
	if got := strings.Join(s.layers, " "); got != "base" {
		t.Errorf("made before it was needed: %s", got)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := e.NewScratch(context.Background(), Layer{ID: "two"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := strings.Join(s.layers, " "); got != "base one two" {
		t.Errorf("made: %s", got)
	}
	if _, err := e.NewScratch(context.Background(), Layer{}); err != nil {
		t.Errorf("on nothing: %v", err)
	}
}

func TestLazyFailures(t *testing.T) {
	s := &store{}
	e := NewLazy(s)
	lost := errors.New("lost")
	e.Add("lost", &Pending{Make: func(context.Context) (Layer, error) { return Layer{}, lost }})
	e.Add("above", &Pending{Parent: Layer{ID: "lost"}, Make: s.made("above")})
	e.Add("asked", &Pending{Make: s.made("another")})
	if _, err := e.NewScratch(context.Background(), Layer{ID: "above"}); !errors.Is(err, lost) || e.Engine.LayerExists("above") {
		t.Errorf("a layer below that does not come: %v", err)
	}
	if _, _, err := e.MountLayer(context.Background(), Layer{ID: "nothere"}); !errs.Is(err, errs.NotFound) {
		t.Errorf("a layer that nobody promised: %v", err)
	}
	if _, _, err := e.CreateImage(context.Background(), ImageSpec{Top: Layer{ID: "asked"}}); !errs.Is(err, errs.Internal) || !strings.Contains(err.Error(), "asked came as another") {
		t.Errorf("another layer than promised: %v", err)
	}
	e.Forget()
	if _, err := e.NewDetached(context.Background(), Layer{ID: "lost"}); !errs.Is(err, errs.NotFound) {
		t.Errorf("forgotten: %v", err)
	}
}

func TestLazyContent(t *testing.T) {
	s := &store{layers: []string{"here"}}
	e := NewLazy(s)
	elsewhere := cache.Content{Blob: cache.Blob{Digest: "sha256:1"}}
	e.Add("there", &Pending{Source: elsewhere, Make: s.made("there")})
	e.Add("gone", &Pending{Gone: true})
	for id, want := range map[string]struct {
		content cache.Content
		ok      bool
	}{
		"here":  {cache.Content{Layer: Layer{ID: "here"}}, true},
		"there": {elsewhere, true},
		"gone":  {cache.Content{}, false},
	} {
		if got, ok := e.Content(Layer{ID: id}); got != want.content || ok != want.ok {
			t.Errorf("%s: %+v, %v", id, got, ok)
		}
	}
	if err := e.need(context.Background(), Layer{ID: "there"}); err != nil {
		t.Fatal(err)
	}
	if got, ok := e.Content(Layer{ID: "there"}); !ok || got.Layer.ID != "there" || got.Blob != (cache.Blob{}) {
		t.Errorf("once it came: %+v, %v", got, ok)
	}
}
