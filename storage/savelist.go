// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/document"
	"github.com/proa-containers/proa/storage/manifestlist"
	"github.com/proa-containers/proa/storage/ocidir"
)

// writeListLayout puts a list with all its images into an OCI directory: the
// images' manifests are blobs, and the directory's own index names the list.
func (o *op) writeListLayout(ctx context.Context, sys *types.SystemContext, list *Image, names []string, dir string) error {
	_, ix, err := o.s.readIndex(list.ID)
	if err != nil {
		return err
	}
	before, err := ocidir.ReadIndex(dir)
	if err != nil {
		return err
	}
	for i := range ix.Manifests {
		d := &ix.Manifests[i]
		id, remote := document.Source(d)
		if remote != "" {
			return errs.WithHint(errs.New(errs.Unsupported, "the list names %s, which is at a registry only", remote), "proa pull %s", remote)
		}
		img, err := o.s.Resolve(id)
		if err != nil {
			return err
		}
		to, err := ocilayout.NewReference(dir, "")
		if err != nil {
			return err
		}
		raw, err := o.copyOut(ctx, img, to, copyOptions{sys: sys, format: imgspec.MediaTypeImageManifest})
		if err != nil {
			return err
		}
		d.Digest, d.Size, d.MediaType = digest.FromBytes(raw), int64(len(raw)), manifest.GuessMIMEType(raw)
	}
	manifestlist.HideSources(ix)
	raw, err := json.Marshal(ix)
	if err != nil {
		return err
	}
	return ocidir.PutList(dir, before, raw, names)
}
