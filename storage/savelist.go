// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/manifestlist"
)

// writeListLayout puts a list with all its images into an OCI directory: the
// images' manifests are blobs, and the directory's own index names the list.
func (o *op) writeListLayout(ctx context.Context, sys *types.SystemContext, list *Image, names []string, dir string) error {
	_, ix, err := o.s.readIndex(list.ID)
	if err != nil {
		return err
	}
	before, err := readLayoutIndex(dir)
	if err != nil {
		return err
	}
	for i := range ix.Manifests {
		d := &ix.Manifests[i]
		id, remote := manifestlist.Source(d)
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
	d := digest.FromBytes(raw)
	if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256", d.Encoded()), raw, 0o644); err != nil {
		return err
	}
	for _, n := range names {
		desc := imgspec.Descriptor{MediaType: imgspec.MediaTypeImageIndex, Digest: d, Size: int64(len(raw))}
		if n != "" {
			desc.Annotations = map[string]string{imgspec.AnnotationRefName: n}
			before.Manifests = slices.DeleteFunc(before.Manifests, func(o imgspec.Descriptor) bool {
				return o.Annotations[imgspec.AnnotationRefName] == n
			})
		}
		before.Manifests = append(before.Manifests, desc)
	}
	return writeLayoutIndex(dir, before)
}

// readLayoutIndex reads the index.json of an OCI directory, which may be empty
// or not there.
func readLayoutIndex(dir string) (*imgspec.Index, error) {
	ix := &imgspec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imgspec.MediaTypeImageIndex}
	text, err := os.ReadFile(filepath.Join(dir, imgspec.ImageIndexFile))
	if notExist(err) {
		return ix, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, ix); err != nil {
		return nil, errs.New(errs.Corrupt, "cannot read %s of %s: %w", imgspec.ImageIndexFile, dir, err)
	}
	return ix, nil
}

func writeLayoutIndex(dir string, ix *imgspec.Index) error {
	raw, err := json.Marshal(ix)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, ".index.json.part")
	if err := os.WriteFile(tmp, raw, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, imgspec.ImageIndexFile))
}
