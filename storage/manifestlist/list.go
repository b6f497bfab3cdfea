// SPDX-License-Identifier: Apache-2.0

// Package manifestlist changes and reads the documents of manifest lists. It knows
// neither a store nor a registry: indexes go in, indexes come out.
//
// A list that the store keeps is an OCI index whose entries have two more
// annotations, which never leave the store: where the image lies (the id of an
// image of the store, or docker://NAME@DIGEST), and what an image of a registry
// was asked for by.
package manifestlist

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/document"
)

const nameAnnotation = "proa.name"

// New is an empty list.
func New(annotations map[string]string) *imgspec.Index {
	return &imgspec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imgspec.MediaTypeImageIndex,
		Manifests: []imgspec.Descriptor{}, Annotations: annotations,
	}
}

// Parse reads a list. Kind Corrupt: it is none.
func Parse(raw []byte) (*imgspec.Index, error) {
	var ix imgspec.Index
	if err := json.Unmarshal(raw, &ix); err != nil {
		return nil, &errs.Error{Kind: errs.Corrupt, Err: err}
	}
	return &ix, nil
}

// OfImage is the entry of an image of the store, whose manifest is raw.
func OfImage(id string, raw []byte, p imgspec.Platform) imgspec.Descriptor {
	return imgspec.Descriptor{
		MediaType: document.MIMEType(raw), Digest: digest.FromBytes(raw), Size: int64(len(raw)),
		Platform: &p, Annotations: map[string]string{document.SourceAnnotation: id},
	}
}

// AtRegistry are the annotations of an entry that lies in a repository of a
// registry and was asked for by a name.
func AtRegistry(repository string, d digest.Digest, asked string) map[string]string {
	return map[string]string{document.SourceAnnotation: document.SourceAtRegistry + repository + "@" + d.String(), nameAnnotation: asked}
}

// Instances are entries of a list from elsewhere: those with these digests,
// with the annotations that each of them gets. Kind Corrupt: a digest is none.
func Instances(l manifest.List, chosen []digest.Digest, annotations func(digest.Digest) map[string]string) ([]imgspec.Descriptor, error) {
	var out []imgspec.Descriptor
	for _, d := range chosen {
		if err := d.Validate(); err != nil {
			return nil, errs.New(errs.Corrupt, "invalid digest %q in the manifest list: %w", d, err)
		}
		u, err := l.Instance(d)
		if err != nil {
			return nil, err
		}
		out = append(out, imgspec.Descriptor{
			MediaType: u.MediaType, Digest: d, Size: u.Size, Annotations: annotations(d), Platform: u.ReadOnly.Platform,
		})
	}
	return out, nil
}

// Find is the place of the entry with a digest (its prefix sha256: may be left
// away), made of the image id, or asked for by name; -1: there is none. An empty
// id or name finds nothing.
func Find(ix *imgspec.Index, digest, id, name string) int {
	return slices.IndexFunc(ix.Manifests, func(d imgspec.Descriptor) bool {
		_, hex, _ := strings.Cut(d.Digest.String(), ":") // Encoded would panic over what is none
		return digest != "" && (d.Digest.String() == digest || hex == digest) || id != "" && d.Annotations[document.SourceAnnotation] == id ||
			name != "" && d.Annotations[nameAnnotation] == name
	})
}

// HideSources takes away what must not leave the store.
func HideSources(ix *imgspec.Index) {
	for i := range ix.Manifests {
		a := maps.Clone(ix.Manifests[i].Annotations)
		delete(a, document.SourceAnnotation)
		delete(a, nameAnnotation)
		if len(a) == 0 {
			a = nil
		}
		ix.Manifests[i].Annotations = a
	}
}

// Clean is a list of the store as others see it.
func Clean(raw []byte) ([]byte, error) {
	ix, err := Parse(raw)
	if err != nil {
		return nil, errs.Wrap(err, "read the manifest list", "")
	}
	HideSources(ix)
	return json.Marshal(ix)
}

// Encode writes a list as format says: oci (as empty does) or v2s2.
func Encode(ix *imgspec.Index, format string) ([]byte, error) {
	raw, err := json.Marshal(ix)
	if err != nil || format == "" || format == "oci" {
		return raw, err
	}
	l, err := manifest.ListFromBlob(raw, imgspec.MediaTypeImageIndex)
	if err != nil {
		return nil, err
	}
	if l, err = manifest.ConvertListToMIMEType(l, manifest.DockerV2ListMediaType); err != nil {
		return nil, err
	}
	return l.Serialize()
}
