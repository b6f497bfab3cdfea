// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"sync"
	"sync/atomic"
)

// Lazy is a tree that is opened when somebody first needs it.
type Lazy struct {
	once sync.Once
	open func(ctx context.Context) (*Tree, error)
	err  error
	tree atomic.Pointer[Tree]
}

// NewLazy makes a Lazy that open opens, once.
func NewLazy(open func(ctx context.Context) (*Tree, error)) *Lazy { return &Lazy{open: open} }

// Ready is a Lazy for a tree that is open.
func Ready(t *Tree) *Lazy {
	return NewLazy(func(context.Context) (*Tree, error) { return t, nil })
}

// Get opens the tree, or says again what it said the first time.
func (l *Lazy) Get(ctx context.Context) (*Tree, error) {
	l.once.Do(func() {
		t, err := l.open(ctx)
		l.err = err
		l.tree.Store(t) // also after an error, if there is one: it wants to be closed
	})
	return l.tree.Load(), l.err
}

// Opened says whether somebody needed the tree and got it.
func (l *Lazy) Opened() bool { return l.tree.Load() != nil }

// Close closes the tree, if it was opened. Nobody may use it any more.
func (l *Lazy) Close() error {
	if t := l.tree.Load(); t != nil {
		return t.Close()
	}
	return nil
}
