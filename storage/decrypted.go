// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"encoding/json"
	"slices"

	"github.com/containers/ocicrypt"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/crypt"
)

// plainManifest is the manifest of the image as it is in the store: what was
// encrypted is now the uncompressed layer that the configuration names.
func (f *fetched) plainManifest() ([]byte, error) {
	var m imgspec.Manifest
	if err := json.Unmarshal(f.raw, &m); err != nil || len(m.Layers) != len(f.diffIDs) {
		return nil, errs.New(errs.Corrupt, "cannot read the manifest of an encrypted image: %v", err)
	}
	parent := ""
	for i := range m.Layers {
		parent = layerID(parent, f.diffIDs[i])
		l := &m.Layers[i]
		if !crypt.Encrypted(l.MediaType) {
			continue
		}
		layer, err := f.o.store.Layer(parent)
		if err != nil {
			return nil, err
		}
		l.MediaType, l.Digest, l.Size = imgspec.MediaTypeImageLayer, f.diffIDs[i], layer.UncompressedSize
		l.Annotations = ocicrypt.FilterOutAnnotations(l.Annotations)
		if len(l.Annotations) == 0 {
			l.Annotations = nil
		}
	}
	return json.Marshal(m)
}

// anyEncrypted says whether the image that is fetched was encrypted.
func (f *fetched) anyEncrypted() bool {
	return slices.ContainsFunc(f.layers, func(l types.BlobInfo) bool { return crypt.Encrypted(l.MediaType) })
}
