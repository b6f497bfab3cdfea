// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"fmt"
	"strings"

	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/engine"
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
	where string // what messages call it; empty: the build context
}

// sourceTree finds where "--from" points: nothing is the build context, else a
// named context, a stage, or an image. A stage is done by then: its layers name its
// content, and what led to them does not.
func (b *builder) sourceTree(ctx context.Context, from string, reader *dockerfile.Stage) (tree, error) {
	if from == "" {
		return tree{Lazy: b.lazy("context", nil)}, nil
	}
	if v, ok := b.o.Contexts.Lookup(from); ok {
		return b.namedContext(ctx, from, v)
	}
	st, err := b.plan.Source(from, reader)
	if err != nil {
		return tree{}, err
	}
	if st != nil && st.Context {
		v, _ := b.o.Contexts.Lookup(st.Name)
		return b.namedContext(ctx, st.Name, v)
	}
	if st != nil {
		top := b.stage(st).top
		l := b.lazy("stage:"+top.ID, func(ctx context.Context) (*source.Tree, error) { return b.mountLayer(ctx, top) })
		return tree{l, "layer:" + top.ID, true, fmt.Sprintf("stage %q", from)}, nil
	}
	t, err := b.imageTree(ctx, from)
	return t, b.noStage(err, from)
}

// noStage adds a hint to the error for an unknown image: no stage has the name either.
func (b *builder) noStage(err error, name string) error {
	names := b.plan.Names()
	if len(names) == 0 || strings.ContainsAny(name, "/:@") || !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Unauthorized) {
		return err
	}
	return errs.WithHint(err, "no stage has that name; stages are: %s", strings.Join(names, ", "))
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
	image, err := b.imageOf(ref)
	if err != nil {
		return tree{}, err
	}
	base := &engine.Base{ID: scratch}
	if image != scratch {
		if base, err = b.base(ctx, ref, b.platform); err != nil {
			return tree{}, err
		}
	}
	l := b.lazy("image:"+base.ID, func(ctx context.Context) (*source.Tree, error) { return b.mountLayer(ctx, base.Top) })
	return tree{Lazy: l, id: base.ID, where: fmt.Sprintf("image %q", ref)}, nil
}

// holdsFiles says whether a name stands for a named context that is no image.
func (b *session) holdsFiles(name string) bool {
	v, ok := b.o.Contexts.Lookup(name)
	return ok && name != scratch && !source.IsImageContext(v)
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
	return tree{where: fmt.Sprintf("build context %q", name), Lazy: b.lazy("named:"+name, func(ctx context.Context) (*source.Tree, error) {
		t, err := src.Open(ctx, b.o.Web, b.tmp)
		if err != nil {
			return nil, err
		}
		t.Hide = b.hide
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
