// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/document"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/manifestlist"
	"github.com/proa-containers/proa/storage/registry"
)

// ManifestVerbose is ManifestInspect with every manifest that a list names: a
// list of documents, or one for an image.
func (s *Store) ManifestVerbose(ctx context.Context, name string, ro registry.RemoteOptions) ([]byte, error) {
	img, err := s.Resolve(strings.TrimPrefix(name, "docker://"))
	if errs.Is(err, errs.NotFound) {
		return s.remoteVerbose(ctx, strings.TrimPrefix(name, "docker://"), ro)
	}
	if err != nil {
		return nil, err
	}
	ref := img.ID
	if full, err := imagename.Normalize(name); err == nil {
		ref = full
	}
	if !img.List {
		d, err := s.localEntry(img)
		if err != nil {
			return nil, err
		}
		d.Annotations = nil
		raw, err := s.RawManifest(img)
		if err != nil {
			return nil, err
		}
		return json.Marshal(manifestlist.VerboseOf(ref, d, raw))
	}
	_, ix, err := s.readIndex(img.ID)
	if err != nil {
		return nil, err
	}
	out := []manifestlist.Verbose{}
	for _, d := range ix.Manifests {
		raw, err := s.entryManifest(ctx, d, ro)
		if err != nil {
			return nil, err
		}
		one := imgspec.Index{Manifests: []imgspec.Descriptor{d}}
		manifestlist.HideSources(&one)
		out = append(out, manifestlist.VerboseOf(ref+"@"+d.Digest.String(), one.Manifests[0], raw))
	}
	return json.Marshal(out)
}

// entryManifest reads the manifest of a list's entry, where it is.
func (s *Store) entryManifest(ctx context.Context, d imgspec.Descriptor, ro registry.RemoteOptions) ([]byte, error) {
	id, remote := document.Source(&d)
	if remote != "" {
		_, raw, _, src, err := s.openRemote(ctx, remote, ro)
		if err != nil {
			return nil, err
		}
		return raw, src.Close()
	}
	img, err := s.Resolve(id)
	if err != nil {
		return nil, err
	}
	return s.RawManifest(img)
}

func (s *Store) remoteVerbose(ctx context.Context, name string, ro registry.RemoteOptions) ([]byte, error) {
	named, raw, mime, src, err := s.openRemote(ctx, name, ro)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if !manifest.MIMETypeIsMultiImage(mime) {
		return json.Marshal(manifestlist.VerboseOf(named.String(), imgspec.Descriptor{MediaType: mime, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, raw))
	}
	descs, err := listEntries(nil, raw, mime, true, func(digest.Digest) map[string]string { return nil })
	if err != nil {
		return nil, err
	}
	out := []manifestlist.Verbose{}
	for _, d := range descs {
		var one []byte
		err := ro.Retrying(ctx, func() (err error) {
			one, _, err = src.GetManifest(ctx, &d.Digest)
			return err
		})
		if err != nil {
			return nil, registry.Explain(err, named)
		}
		if digest.FromBytes(one) != d.Digest {
			return nil, errs.New(errs.Corrupt, "the registry gave another manifest for %s", d.Digest)
		}
		out = append(out, manifestlist.VerboseOf(named.Name()+"@"+d.Digest.String(), d, one))
	}
	return json.Marshal(out)
}
