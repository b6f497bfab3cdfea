// SPDX-License-Identifier: Apache-2.0

// Package builder gives builds the engine of this machine: images and layers of
// the user's store, RUN steps under monitors.
package builder

import (
	"context"
	"io"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/spec"
)

// Engine is a engine.Engine. It must be used inside the user's namespace (see
// libpod.Engine.EnterNamespace).
type Engine struct {
	pod      *libpod.Engine
	progress io.Writer
	remote   libpod.RemoteOptions
}

// New makes an Engine. progress takes what pulls print (nil: nothing); remote
// is how registries are reached.
func New(pod *libpod.Engine, progress io.Writer, remote libpod.RemoteOptions) *Engine {
	return &Engine{pod, progress, remote}
}

var _ engine.Engine = (*Engine)(nil)

// Base implements engine.Engine.
func (e *Engine) Base(ctx context.Context, ref, platform string, pull spec.PullPolicy) (*engine.Base, error) {
	b, err := e.pod.BaseImage(ctx, ref, libpod.BaseOptions{Platform: platform, Pull: pull, Remote: e.remote, Progress: e.progress})
	if err != nil {
		return nil, err
	}
	return &engine.Base{ID: b.ID, Name: ref, Config: b.Config, Top: fromStore(b.Top)}, nil
}

func fromStore(l libpod.Layer) engine.Layer {
	return engine.Layer{ID: l.ID, DiffID: l.DiffID.String(), Size: l.Size}
}

func toStore(l engine.Layer) libpod.Layer {
	return libpod.Layer{ID: l.ID, DiffID: digest.Digest(l.DiffID), Size: l.Size}
}

// scratch is a libpod.Scratch whose layers are the build's.
type scratch struct{ *libpod.Scratch }

func (s scratch) Commit(ctx context.Context, epoch *time.Time) (engine.Layer, error) {
	l, err := s.Scratch.Commit(ctx, epoch)
	return fromStore(l), err
}

// NewScratch implements engine.Engine.
func (e *Engine) NewScratch(_ context.Context, parent engine.Layer) (engine.Scratch, error) {
	s, err := e.pod.NewScratch(toStore(parent))
	if err != nil {
		return nil, err
	}
	return scratch{s}, nil
}

// NewDetached implements engine.Engine.
func (e *Engine) NewDetached(_ context.Context, parent engine.Layer) (engine.Scratch, error) {
	s, err := e.pod.NewDetached(toStore(parent))
	if err != nil {
		return nil, err
	}
	return scratch{s}, nil
}

// LayerID implements engine.Engine.
func (e *Engine) LayerID(parent engine.Layer, diffID string) string {
	return libpod.LayerID(toStore(parent), digest.Digest(diffID))
}

// FindLayer implements engine.Engine.
func (e *Engine) FindLayer(diffID string) (engine.Layer, bool) {
	l, ok := e.pod.FindLayer(digest.Digest(diffID))
	return fromStore(l), ok
}

// CopyLayer implements engine.Engine.
func (e *Engine) CopyLayer(ctx context.Context, diffID string, parent engine.Layer) (engine.Layer, error) {
	l, err := e.pod.CopyLayer(ctx, digest.Digest(diffID), toStore(parent))
	return fromStore(l), err
}

// MountLayer implements engine.Engine.
func (e *Engine) MountLayer(ctx context.Context, top engine.Layer) (string, func() error, error) {
	return e.pod.MountLayer(ctx, toStore(top))
}

// Run implements engine.Engine.
func (e *Engine) Run(ctx context.Context, s engine.RunStep) (int, error) {
	img := spec.ImageConfig{Architecture: s.Architecture, Env: s.Config.Env, User: s.Config.User, WorkingDir: s.Config.WorkingDir}
	return e.pod.RunStep(ctx, libpod.Step{
		Rootfs: s.Rootfs, Spec: s.Container, Image: img, In: s.In, Stdout: s.Stdout, Stderr: s.Stderr,
		Started: s.Started, Mounted: s.Mounted,
	})
}

// CheckNames implements engine.Engine.
func (e *Engine) CheckNames(names []string) error { return e.pod.CheckNames(names) }

// CheckRun implements engine.Engine.
func (e *Engine) CheckRun(ctx context.Context, c spec.Container) error {
	return e.pod.CheckStep(ctx, &c)
}

// CreateImage implements engine.Engine.
func (e *Engine) CreateImage(ctx context.Context, s engine.ImageSpec) (id string, shown []string, err error) {
	return e.pod.CreateImage(ctx, libpod.NewImage{Config: s.Config, Top: toStore(s.Top), Names: s.Names, Annotations: s.Annotations, Docker: s.Docker})
}

// CreateList implements engine.Engine.
func (e *Engine) CreateList(ctx context.Context, l engine.ListSpec) (id string, shown []string, err error) {
	return e.pod.CreateList(ctx, libpod.NewList{
		Images: l.Images, Names: l.Names, Add: l.Add, Annotations: l.Annotations, Entries: l.Entries,
	})
}

// Platforms implements engine.Engine.
func (e *Engine) Platforms(ctx context.Context, ref string) ([]string, error) {
	return e.pod.Platforms(ctx, ref, e.remote)
}

// LayerExists implements engine.Engine.
func (e *Engine) LayerExists(id string) bool { return e.pod.LayerExists(id) }

// RemoveLayers implements engine.Engine.
func (e *Engine) RemoveLayers(ctx context.Context, ids ...string) (int64, error) {
	return e.pod.RemoveLayers(ctx, ids...)
}

// BuildLayers implements engine.Engine.
func (e *Engine) BuildLayers() (map[string]cache.Made, error) { return Layers{e.pod}.BuildLayers() }

// Layers is the store as the cache sees it when it is pruned.
type Layers struct{ *libpod.Engine }

// BuildLayers implements cache.PruneStore.
func (l Layers) BuildLayers() (map[string]cache.Made, error) {
	list, err := l.Engine.BuildLayers()
	if err != nil {
		return nil, err
	}
	out := map[string]cache.Made{}
	for id, m := range list {
		out[id] = cache.Made(m)
	}
	return out, nil
}

// DataDir implements engine.Engine.
func (e *Engine) DataDir() string { return e.pod.DataDir() }

// CacheDir implements engine.Engine.
func (e *Engine) CacheDir() string { return e.pod.BuildCacheDir() }

// SecretDir implements engine.Engine.
func (e *Engine) SecretDir() string { return e.pod.BuildSecretDir() }
