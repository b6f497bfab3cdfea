// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"context"

	digest "github.com/opencontainers/go-digest"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/errs"
)

// cacheItem is a libpod.CacheItem with the build's values.
type cacheItem struct{ *libpod.CacheItem }

func (c cacheItem) Config() (string, []byte)      { return c.ConfigType, c.CacheItem.Config }
func (c cacheItem) Annotation(name string) string { return c.Annotations[name] }

func (c cacheItem) Blobs() []cache.Blob { return fromBlobs(c.CacheItem.Blobs) }

func fromBlobs(in []libpod.CacheBlob) []cache.Blob {
	out := make([]cache.Blob, len(in))
	for i, b := range in {
		out[i] = cache.Blob{MediaType: b.MediaType, Digest: b.Digest.String(), Size: b.Size}
	}
	return out
}

func toBlob(b cache.Blob) libpod.CacheBlob {
	return libpod.CacheBlob{MediaType: b.MediaType, Digest: digest.Digest(b.Digest), Size: b.Size}
}

func (c cacheItem) Layer(ctx context.Context, b cache.Blob, diffID string, parent engine.Layer) (engine.Layer, error) {
	l, err := c.CacheItem.Layer(ctx, toBlob(b), digest.Digest(diffID), toStore(parent))
	return fromStore(l), err
}

func (e *Engine) cacheRef(ref cache.Ref) libpod.CacheRef {
	return libpod.CacheRef{Name: ref.Name, Dir: ref.Dir, Tag: ref.Tag, Remote: e.remote}
}

// OpenCache implements engine.Engine.
func (e *Engine) OpenCache(ctx context.Context, ref cache.Ref) ([]cache.Item, error) {
	items, err := e.pod.OpenCache(ctx, e.cacheRef(ref))
	if err != nil {
		return nil, err
	}
	out := make([]cache.Item, len(items))
	for i, it := range items {
		out[i] = cacheItem{it}
	}
	return out, nil
}

// WriteCache implements engine.Engine.
func (e *Engine) WriteCache(ctx context.Context, ref cache.Ref, configType string, layers []cache.Content, config func([]cache.Blob) ([]byte, error)) error {
	list := make([]libpod.CacheLayer, len(layers))
	for i, l := range layers {
		list[i] = libpod.CacheLayer{Layer: toStore(l.Layer), Blob: toBlob(l.Blob)}
		if l.From == nil {
			continue
		}
		from, ok := l.From.(cacheItem)
		if !ok {
			return errs.New(errs.Internal, "a layer of another engine's cache")
		}
		list[i].From = from.CacheItem
	}
	return e.pod.WriteCache(ctx, e.cacheRef(ref), configType, list, func(blobs []libpod.CacheBlob) ([]byte, error) {
		return config(fromBlobs(blobs))
	})
}
