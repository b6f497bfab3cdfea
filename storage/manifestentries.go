// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"strings"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/guard"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/manifestlist"
	"github.com/proa-containers/proa/storage/registry"
)

// entriesFor makes entries of what a reference means.
func (s *Store) entriesFor(ctx context.Context, ref string, all bool, ro registry.RemoteOptions) ([]imgspec.Descriptor, error) {
	t, rest, ok := imagename.CutTransport(ref)
	if ok && t == "docker" {
		return s.remoteEntries(ctx, strings.TrimPrefix(rest, "//"), all, ro)
	}
	// A list names the images of the store, so what lies elsewhere comes in.
	if local := strings.TrimPrefix(ref, imagename.ContainersStorage+":"); ok && (t != imagename.ContainersStorage || !s.has(local)) {
		img, err := s.Pull(ctx, ref, PullOptions{RemoteOptions: ro})
		if err != nil {
			return nil, err
		}
		ref = img.ID
	} else {
		ref = local
	}
	img, err := s.Resolve(ref)
	if errs.Is(err, errs.NotFound) {
		return s.remoteEntries(ctx, ref, all, ro)
	}
	if err != nil {
		return nil, err
	}
	if img.List {
		_, ix, err := s.readIndex(img.ID)
		if err != nil {
			return nil, err
		}
		return ix.Manifests, nil
	}
	d, err := s.localEntry(img)
	return []imgspec.Descriptor{d}, err
}

func (s *Store) has(ref string) bool {
	_, err := s.Resolve(ref)
	return err == nil
}

func (s *Store) localEntry(img *Image) (imgspec.Descriptor, error) {
	raw, err := s.RawManifest(img)
	if err != nil {
		return imgspec.Descriptor{}, err
	}
	return manifestlist.OfImage(img.ID, raw, platformOf(img)), nil
}

func platformOf(img *Image) imgspec.Platform {
	return imgspec.Platform{OS: img.OS, Architecture: img.Architecture, Variant: img.Variant}
}

func (s *Store) remoteEntries(ctx context.Context, name string, all bool, ro registry.RemoteOptions) ([]imgspec.Descriptor, error) {
	named, raw, mime, src, err := s.openRemote(ctx, name, ro)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	sys, err := s.system(ro, "")
	if err != nil {
		return nil, err
	}
	from := func(d digest.Digest) map[string]string {
		return manifestlist.AtRegistry(named.Name(), d, named.String())
	}
	if manifest.MIMETypeIsMultiImage(mime) {
		return listEntries(sys, raw, mime, all, from)
	}
	var info *imgspec.Image
	err = registry.Within(ctx, func(ctx context.Context) error {
		img, err := image.FromSource(ctx, sys, guard.OwnBlobs{ImageSource: src})
		if err == nil {
			info, err = img.OCIConfig(ctx)
		}
		return err
	})
	if err != nil {
		return nil, registry.Explain(err, named)
	}
	d := digest.FromBytes(raw)
	return []imgspec.Descriptor{{
		MediaType: mime, Digest: d, Size: int64(len(raw)), Annotations: from(d),
		Platform: &imgspec.Platform{OS: info.OS, Architecture: info.Architecture, Variant: info.Variant},
	}}, nil
}

// listEntries takes the images of a registry's list: all, or this platform's.
func listEntries(sys *types.SystemContext, raw []byte, mime string, all bool, from func(digest.Digest) map[string]string) ([]imgspec.Descriptor, error) {
	l, err := manifest.ListFromBlob(raw, mime)
	if err != nil {
		return nil, errs.New(errs.Corrupt, "cannot read the index: %w", err)
	}
	chosen := l.Instances()
	if !all {
		d, err := registry.ChooseInstance(sys, l)
		if err != nil {
			return nil, err
		}
		chosen = []digest.Digest{d}
	}
	return manifestlist.Instances(l, chosen, from)
}

// openRemote reads a manifest at a registry. The caller closes the source.
func (s *Store) openRemote(ctx context.Context, name string, ro registry.RemoteOptions) (named reference.Named, raw []byte, mime string, src types.ImageSource, err error) {
	if named, err = imagename.Parse(name); err != nil {
		return nil, nil, "", nil, err
	}
	sys, err := s.system(ro, "")
	if err != nil {
		return nil, nil, "", nil, err
	}
	raw, mime, src, err = registry.OpenManifest(ctx, sys, named, ro)
	return named, raw, mime, src, err
}
