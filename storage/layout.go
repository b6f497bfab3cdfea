// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
)

// PullLayout brings an image of an OCI directory in, without a name and out of
// lists: DIRECTORY, DIRECTORY:TAG or DIRECTORY@DIGEST.
func (s *Store) PullLayout(ctx context.Context, where string, o PullOptions) (*Image, error) {
	ref, dir, err := findLayout(where)
	if err != nil {
		return nil, err
	}
	sys, err := s.system(o)
	if err != nil {
		return nil, err
	}
	_, id, err := s.fetch(ctx, ref, sys, fetchOptions{tell: &teller{p: o.Progress}, aside: true, layout: dir})
	if err != nil {
		return nil, errs.Wrap(err, "read the OCI directory", where)
	}
	return s.Resolve(id)
}

// findLayout is the image that is meant, and the directory.
func findLayout(where string) (ref types.ImageReference, dir string, err error) {
	dir, want, digested := strings.Cut(where, "@")
	if base := dir[strings.LastIndexByte(dir, '/')+1:]; !digested && strings.Contains(base, ":") {
		i := strings.LastIndexByte(dir, ':')
		dir, want = dir[:i], dir[i+1:]
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, "", err
	}
	if _, err := os.Stat(filepath.Join(dir, imgspec.ImageIndexFile)); err != nil {
		return nil, "", errs.New(errs.NotFound, "%s is no OCI directory: it has no %s", dir, imgspec.ImageIndexFile)
	}
	if err := smallFile(filepath.Join(dir, imgspec.ImageIndexFile)); err != nil {
		return nil, "", err
	}
	list, err := ocilayout.List(dir)
	if err != nil {
		return nil, "", errs.New(errs.Corrupt, "cannot read the OCI directory %s: %w", dir, err)
	}
	if digested {
		if err := digest.Digest(want).Validate(); err != nil {
			return nil, "", errs.New(errs.Invalid, "invalid digest %q: %w", want, err)
		}
	}
	var tags []string
	at := -1
	for i, e := range list {
		tag := e.ManifestDescriptor.Annotations[imgspec.AnnotationRefName]
		tags = append(tags, tag)
		if digested && e.ManifestDescriptor.Digest.String() == want || !digested && want != "" && (tag == want || strings.HasSuffix(tag, ":"+want)) {
			at = i
		}
	}
	if want == "" {
		at = defaultEntry(tags)
	}
	if at < 0 {
		slices.Sort(tags)
		return nil, "", errs.WithHint(errs.New(errs.NotFound, "the OCI directory %s has no image %q", dir, want), "name one of: %s", strings.Join(slices.Compact(tags), ", "))
	}
	if err := checkManifest(dir, list[at].ManifestDescriptor.Digest); err != nil {
		return nil, "", err
	}
	ref, err = ocilayout.NewIndexReference(dir, at)
	return ref, dir, err
}

// defaultEntry is what is meant without a tag: the only image, else the latest.
func defaultEntry(tags []string) int {
	if len(tags) == 1 {
		return 0
	}
	return slices.IndexFunc(tags, func(t string) bool { return t == "latest" || strings.HasSuffix(t, ":latest") })
}
