// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"go.podman.io/storage"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/staging"
)

// One content can stand on several parents: a base that several images have, a
// COPY --link whose base changed. It is made once more from the layer that has
// it: by hard links, since nothing ever writes to a layer, else by reading it.

// LayerID is the store's id for a layer with this content on top of parent.
func LayerID(parent Layer, diffID digest.Digest) string { return layerID(parent.ID, diffID) }

// FindLayer finds some layer with this content, on whatever parent.
func (s *Store) FindLayer(diffID digest.Digest) (Layer, bool) {
	layers, err := s.Layers()
	if err != nil {
		return Layer{}, false
	}
	for _, l := range layers {
		if l.DiffID == diffID.String() && l.Flags["incomplete"] == nil {
			return Layer{ID: l.ID, DiffID: diffID, Size: l.DiffSize}, true
		}
	}
	return Layer{}, false
}

// CopyLayer puts content that some layer has on top of parent. Kind NotFound:
// none has it.
func (s *Store) CopyLayer(ctx context.Context, diffID digest.Digest, parent Layer) (l Layer, err error) {
	o, err := s.begin(false)
	if err != nil {
		return Layer{}, err
	}
	defer o.end(&err)
	g := o.stageSame(diffID, "")
	if g == nil {
		return Layer{}, errs.New(errs.NotFound, "no layer has the content %s", diffID)
	}
	l = Layer{DiffID: g.diffID, Size: g.size}
	l.ID, _, err = s.commit(o.store, g, parent.ID, index.LayerBuild)
	return l, err
}

// stageSame makes content again from a layer that has it; nil: none has, or it
// cannot be read.
func (o *op) stageSame(want, blob digest.Digest) *staged {
	same, err := o.store.LayersByUncompressedDigest(want)
	if err != nil || len(same) == 0 {
		return nil
	}
	if g := o.stageLinks(&same[0], blob); g != nil {
		return g
	}
	rc, err := o.store.Diff("", same[0].ID, nil)
	if err != nil {
		return nil
	}
	defer rc.Close()
	g, err := o.s.stage(o.store, rc, blob)
	if err != nil {
		return nil
	}
	if g.diffID != want {
		g.drop(o.store)
		return nil
	}
	return g
}

// stageLinks makes the content of hard links to the files of l.
func (o *op) stageLinks(l *storage.Layer, blob digest.Digest) *staged {
	if o.store.GraphDriverName() != "overlay" {
		return nil
	}
	d := &staging.Links{
		Src: filepath.Join(o.s.Home(), l.ID, "diff"), Layer: l,
		Split: filepath.Join(o.s.root, "overlay-layers", l.ID+".tar-split.gz"),
	}
	out, err := staging.Fill(o.store, d)
	if err != nil {
		return nil
	}
	out.UncompressedDigest, out.CompressedDigest = l.UncompressedDigest, blob
	return &staged{diffID: l.UncompressedDigest, size: l.UncompressedSize, blob: blob, out: out}
}
