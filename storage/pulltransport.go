// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"os"
	"strings"

	"go.podman.io/image/v5/docker/reference"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/ocidir"
	"github.com/proa-containers/proa/storage/progress"
	"github.com/proa-containers/proa/storage/registry"
)

// pullTransport copies one image out of an archive or directory.
func (s *Store) pullTransport(ctx context.Context, sys *types.SystemContext, name string, o PullOptions) (*Image, error) {
	ref, err := registry.ParseTransport(name)
	if err != nil {
		return nil, errs.New(errs.Invalid, "invalid reference format: %q: %w", name, err)
	}
	tell := &progress.Teller{To: o.Progress}
	fo := fetchOptions{tell: tell, remote: o.RemoteOptions}
	if n := ref.DockerReference(); n != nil {
		fo.names = []string{reference.TagNameOnly(n).String()}
	}
	id, err := "", error(nil)
	switch t, rest, _ := strings.Cut(name, ":"); t {
	case "oci":
		id, err = s.fetchLayout(ctx, sys, rest, fo)
	case "oci-archive":
		fo.as = ref
		id, err = s.fetchOCIArchive(ctx, sys, rest, fo)
	default:
		_, id, err = s.fetch(ctx, ref, sys, fo)
	}
	if err != nil {
		return nil, errs.Wrap(archiveError(err), "pull", name)
	}
	return s.Resolve(id)
}

// fetchLayout copies the image of DIRECTORY[:REFERENCE].
func (s *Store) fetchLayout(ctx context.Context, sys *types.SystemContext, where string, fo fetchOptions) (id string, err error) {
	fo.layout, _, _ = strings.Cut(where, ":")
	if _, err := os.Stat(fo.layout); err != nil {
		return "", errs.OfFile(err)
	}
	if err := ocidir.CheckIndex(fo.layout); err != nil {
		return "", err
	}
	ref, err := ocilayout.ParseReference(where)
	if err != nil {
		return "", err
	}
	d, err := ocilayout.LoadManifestDescriptor(ref)
	if err != nil {
		return "", err
	}
	if err := ocidir.CheckManifest(fo.layout, d.Digest); err != nil {
		return "", err
	}
	_, id, err = s.fetch(ctx, ref, sys, fo)
	return id, err
}

// fetchOCIArchive copies the image of FILE[:REFERENCE].
func (s *Store) fetchOCIArchive(ctx context.Context, sys *types.SystemContext, where string, fo fetchOptions) (id string, err error) {
	op, err := s.begin(true) // so that what a killed call leaves in tmp is cleared away
	if err != nil {
		return "", err
	}
	defer op.end(&err)
	path, image, named := strings.Cut(where, ":")
	file, done, err := s.plainTar(LoadOptions{Path: path})
	if err != nil {
		return "", err
	}
	defer done()
	dir, err := s.unpackOCIArchive(file)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if named {
		dir += ":" + image
	}
	return s.fetchLayout(ctx, sys, dir, fo)
}
