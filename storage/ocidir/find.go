// SPDX-License-Identifier: Apache-2.0

package ocidir

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker/reference"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/blob"
)

// Find is the image that is meant by DIRECTORY, DIRECTORY:TAG or DIRECTORY@DIGEST,
// and the directory.
func Find(where string) (ref types.ImageReference, dir string, err error) {
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
	if err := CheckIndex(dir); err != nil {
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
	if err := CheckManifest(dir, list[at].ManifestDescriptor.Digest); err != nil {
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

// CheckManifest refuses a manifest of an OCI directory that the library would
// read into memory whatever its size.
func CheckManifest(dir string, d digest.Digest) error {
	if err := validate(d); err != nil {
		return err
	}
	return smallFile(blobPath(dir, d))
}

// validate refuses what would lead out of the directory as a file's name.
func validate(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return errs.New(errs.Corrupt, "invalid digest %q in the index: %w", d, err)
	}
	return nil
}

// CheckIndex is CheckManifest for the directory's index.json.
func CheckIndex(dir string) error { return smallFile(filepath.Join(dir, imgspec.ImageIndexFile)) }

func smallFile(file string) error {
	fi, err := os.Stat(file)
	switch {
	case err != nil:
		return errs.New(errs.Invalid, "it is not a complete OCI image directory: %w", err)
	case !fi.Mode().IsRegular():
		return errs.New(errs.Invalid, "%s is not a file", fi.Name())
	case fi.Size() > blob.MaxManifest:
		return errs.New(errs.Invalid, "%s has %d bytes; at most %d are accepted", fi.Name(), fi.Size(), blob.MaxManifest)
	}
	return nil
}

// Names is what an index entry is called. The specification lets the
// reference name be a mere tag, which names no image.
func Names(annotations map[string]string) []string {
	for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
		name := annotations[key]
		if !strings.ContainsAny(name, ":/") {
			continue
		}
		if n, err := reference.ParseNormalizedNamed(name); err == nil {
			return []string{reference.TagNameOnly(n).String()}
		}
	}
	return nil
}
