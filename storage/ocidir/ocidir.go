// SPDX-License-Identifier: Apache-2.0

// Package ocidir reads and changes OCI image directories, which others made or
// will read: their index.json, and what of them may come into memory.
package ocidir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
)

// ReadIndex reads the index.json of an OCI directory, which may be empty
// or not there. Kinds Corrupt and Invalid: it is none.
func ReadIndex(dir string) (*imgspec.Index, error) {
	ix := &imgspec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imgspec.MediaTypeImageIndex}
	text, err := indexText(dir)
	if errors.Is(err, fs.ErrNotExist) {
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

// indexText is what CheckIndex lets pass.
func indexText(dir string) ([]byte, error) {
	if err := CheckIndex(dir); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, imgspec.ImageIndexFile))
	if err != nil {
		return nil, errs.OfFile(err)
	}
	return text, nil
}

// WriteIndex replaces the index.json of an OCI directory.
func WriteIndex(dir string, ix *imgspec.Index) error {
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

// PutList adds a list's document, whose images are in the directory already, and
// names it: "" is a list without a name. What had one of the names loses it.
// before is the index from before the images came, whose manifests the library
// names in it too.
func PutList(dir string, before *imgspec.Index, raw []byte, names []string) error {
	d := digest.FromBytes(raw)
	if err := os.WriteFile(blobPath(dir, d), raw, 0o644); err != nil {
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
	return WriteIndex(dir, before)
}

func blobPath(dir string, d digest.Digest) string {
	return filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded())
}
