// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"strings"

	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
)

func (b *session) closeTrees() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.trees {
		_ = l.Close() // mounts and copies of our own, in a private directory
	}
}

// tree is where "--from" points.
type tree struct {
	*source.Lazy
	id    string // names the content without a look at it; empty: files of the host
	stage bool   // of a stage: made again it has another id, perhaps for the same files
}

// sourceTree finds where "--from" points: nothing is the build context, else a
// named context, a stage, or an image. A stage is done by then: its layers name its
// content, and what led to them does not.
func (b *builder) sourceTree(ctx context.Context, from string, before int) (tree, error) {
	if from == "" {
		return tree{Lazy: b.lazy("context", nil)}, nil
	}
	if v, ok := b.o.Contexts.Lookup(from); ok {
		return b.namedContext(ctx, from, v)
	}
	if st := b.plan.Find(from, before); st != nil {
		top := b.stages[st].top
		l := b.lazy("stage:"+top.ID, func(ctx context.Context) (*source.Tree, error) { return b.mountLayer(ctx, top) })
		return tree{l, "layer:" + top.ID, true}, nil
	}
	t, err := b.imageTree(ctx, from)
	if names := b.plan.Names(); len(names) > 0 && !strings.ContainsAny(from, "/:@") && (errs.Is(err, errs.NotFound) || errs.Is(err, errs.Unauthorized)) {
		err = errs.WithHint(err, "no stage has that name; stages are: %s", strings.Join(names, ", "))
	}
	return t, err
}

func (b *builder) lazy(key string, open func(context.Context) (*source.Tree, error)) *source.Lazy {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.trees[key]
	if !ok {
		l = source.NewLazy(open)
		b.trees[key] = l
	}
	return l
}

func (b *builder) imageTree(ctx context.Context, ref string) (tree, error) {
	base, err := b.base(ctx, ref, b.platform)
	if err != nil {
		return tree{}, err
	}
	l := b.lazy("image:"+base.ID, func(ctx context.Context) (*source.Tree, error) { return b.mountLayer(ctx, base.Top) })
	return tree{Lazy: l, id: base.ID}, nil
}

func (b *builder) namedContext(ctx context.Context, name, value string) (tree, error) {
	if source.IsImageContext(value) {
		return b.imageTree(ctx, name)
	}
	src, inline, err := source.Parse(value, strings.NewReader(""), false)
	if err != nil {
		return tree{}, err
	}
	if inline != nil {
		return tree{}, errs.New(errs.Invalid, "build context %q cannot be standard input", name)
	}
	return tree{Lazy: b.lazy("named:"+name, func(ctx context.Context) (*source.Tree, error) {
		t, err := src.Open(ctx, b.tmp)
		if err != nil {
			return nil, err
		}
		return t, t.LoadIgnore("Dockerfile")
	})}, nil
}

func (b *builder) mountLayer(ctx context.Context, top Layer) (*source.Tree, error) {
	dir, release, err := b.engine.MountLayer(ctx, top)
	if err != nil {
		return nil, err
	}
	return &source.Tree{Root: dir, Close: release}, nil
}
