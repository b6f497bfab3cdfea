// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestLazy(t *testing.T) {
	opened, closed := 0, 0
	l := NewLazy(func(context.Context) (*Tree, error) {
		opened++
		return &Tree{Root: "/x", Close: func() error { closed++; return nil }}, nil
	})
	if err := l.Close(); l.Opened() || err != nil || closed != 0 {
		t.Errorf("before anybody needs it: opened %v, closed %d times, %v", l.Opened(), closed, err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if tree, err := l.Get(context.Background()); err != nil || tree.Root != "/x" {
				t.Errorf("%v, %v", tree, err)
			}
		})
	}
	wg.Wait()
	if err := l.Close(); opened != 1 || !l.Opened() || closed != 1 || err != nil {
		t.Errorf("opened %d times, closed %d times, %v", opened, closed, err)
	}
}

// A tree that came with an error is closed too; none is there without.
func TestLazyFailure(t *testing.T) {
	failure := errors.New("bad ignore file")
	closed := false
	l := NewLazy(func(context.Context) (*Tree, error) {
		return &Tree{Close: func() error { closed = true; return nil }}, failure
	})
	for range 2 {
		if _, err := l.Get(context.Background()); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
	}
	if err := l.Close(); err != nil || !closed {
		t.Errorf("closed %v, %v", closed, err)
	}
	l = NewLazy(func(context.Context) (*Tree, error) { return nil, failure })
	if tree, err := l.Get(context.Background()); tree != nil || !errors.Is(err, failure) || l.Opened() || l.Close() != nil {
		t.Errorf("%v, %v, opened %v", tree, err, l.Opened())
	}
}
