// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"errors"
	"slices"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/build/files"
)

// origin is the image that a stage and the stages below it started from.
type origin struct {
	top             Layer
	layers, history int // of the image
}

// squash replaces the layers above base by one. The cached layers stay what
// they are. History keeps its lines, now without layers.
func (b *builder) squash(ctx context.Context, s *stage, base origin, img *dockerspec.DockerOCIImage) (Layer, error) {
	if len(img.RootFS.DiffIDs) <= base.layers+1 {
		return s.top, nil
	}
	layer, err := b.mergedLayer(ctx, base.top, s.top)
	if err != nil {
		return Layer{}, err
	}
	img.RootFS.DiffIDs = append(slices.Clone(img.RootFS.DiffIDs[:base.layers]), digestOf(layer.DiffID))
	img.History = slices.Clone(img.History)
	for i := base.history; i < len(img.History); i++ {
		img.History[i].EmptyLayer = true
	}
	img.History = append(img.History, v1.History{Created: img.Created, Comment: "squashed by proa"})
	return layer, nil
}

// mergedLayer makes one layer on base that leads to the files of top.
func (b *builder) mergedLayer(ctx context.Context, base, top Layer) (Layer, error) {
	dir, release, err := b.engine.MountLayer(ctx, top)
	if err != nil {
		return Layer{}, err
	}
	sc, err := b.engine.NewScratch(ctx, base)
	if err != nil {
		return Layer{}, errors.Join(err, release())
	}
	merged, err := sc.Merged()
	if err == nil {
		err = files.Sync(merged, dir)
	}
	if rerr := release(); err == nil {
		err = rerr
	}
	if err != nil {
		return Layer{}, joinDiscard(err, sc)
	}
	layer, err := sc.Commit(ctx, b.layerEpoch())
	if err != nil {
		return Layer{}, joinDiscard(err, sc)
	}
	return layer, nil
}
