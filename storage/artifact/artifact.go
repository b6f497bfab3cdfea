// SPDX-License-Identifier: Apache-2.0

// Package artifact keeps OCI artifacts: files under an image's kind of name,
// that no container runs. They lie in an OCI layout of their own: blobs by their
// digest, and index.json with one entry per name. Nothing in it belongs to
// another id, so no user namespace is entered.
//
// What counts is what index.json leads to; it is only ever replaced whole, after
// all that it names is on disk. A killed command so leaves blobs that nobody
// names, which the next writing call clears away when it is alone.
package artifact

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
)

// UnknownType is the type of an artifact that was given none.
const UnknownType = "application/vnd.unknown.artifact.v1"

// Store is one user's artifacts. Opening it reads and creates nothing.
type Store struct {
	dir string
	// normalize completes a name: docker.io and :latest are implied.
	normalize func(string) (string, error)
}

// Open prepares the store in dir.
func Open(dir string, normalize func(string) (string, error)) *Store {
	return &Store{dir, normalize}
}

// Artifact is one name in the store and what it leads to.
type Artifact struct {
	Manifest imgspec.Manifest
	Name     string // complete: quay.io/me/model:latest
	Digest   digest.Digest
}

// Size is the bytes of the artifact's files.
func (a *Artifact) Size() int64 {
	var n int64
	for _, l := range a.Manifest.Layers {
		n += l.Size
	}
	return n
}

// List returns all artifacts, in the order in which they came.
func (s *Store) List() ([]Artifact, error) {
	// A second look covers one that was removed between the two reads.
	for try := 0; ; try++ {
		list, err := s.list()
		if try == 1 || !errs.Is(err, errs.Corrupt) {
			return list, err
		}
	}
}

func (s *Store) list() ([]Artifact, error) {
	ix, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var list []Artifact
	for _, d := range ix.Manifests {
		a, err := s.read(d)
		if err != nil {
			return nil, err
		}
		list = append(list, *a)
	}
	return list, nil
}

func nameOf(d imgspec.Descriptor) string { return d.Annotations[imgspec.AnnotationRefName] }

func (s *Store) read(d imgspec.Descriptor) (*Artifact, error) {
	a := &Artifact{Name: nameOf(d), Digest: d.Digest}
	broken := func(err error) error {
		return errs.WithHint(errs.New(errs.Corrupt, "cannot read artifact %s: %w", a.Name, err), "proa artifact rm %s", a.Name)
	}
	raw, err := os.ReadFile(s.blob(d.Digest))
	if err != nil {
		return nil, broken(err)
	}
	if digest.FromBytes(raw) != d.Digest {
		return nil, broken(errors.New("its manifest was changed"))
	}
	if err := json.Unmarshal(raw, &a.Manifest); err != nil {
		return nil, broken(err)
	}
	for _, l := range append(a.Manifest.Layers, a.Manifest.Config) {
		if err := l.Digest.Validate(); err != nil {
			return nil, broken(err)
		}
	}
	return a, nil
}

// Find returns an artifact by its name, its digest, or the start of one. Kind
// NotFound: there is none.
func (s *Store) Find(ref string) (*Artifact, error) {
	for try := 0; ; try++ {
		ix, err := s.readIndex()
		if err != nil {
			return nil, err
		}
		found, err := s.match(ix, ref)
		if err != nil {
			return nil, err
		}
		a, err := s.read(found[0])
		if try == 1 || !errs.Is(err, errs.Corrupt) {
			return a, err
		}
	}
}

var hexDigits = regexp.MustCompile(`^[0-9a-f]{3,64}$`)

// match returns the entries that ref means: one by its name, else all names of
// one digest.
func (s *Store) match(ix *imgspec.Index, ref string) ([]imgspec.Descriptor, error) {
	full, nameErr := s.normalize(ref)
	var found []imgspec.Descriptor
	for _, d := range ix.Manifests {
		if nameErr == nil && nameOf(d) == full {
			return []imgspec.Descriptor{d}, nil
		}
	}
	hex := strings.TrimPrefix(ref, "sha256:")
	if !hexDigits.MatchString(hex) {
		if nameErr != nil {
			return nil, nameErr
		}
		return nil, notFound(ref)
	}
	for _, d := range ix.Manifests {
		if !strings.HasPrefix(d.Digest.Encoded(), hex) {
			continue
		}
		if len(found) > 0 && found[0].Digest != d.Digest {
			return nil, errs.New(errs.Invalid, "digest prefix %q is ambiguous: several artifacts begin with it", ref)
		}
		found = append(found, d)
	}
	if found == nil {
		return nil, notFound(ref)
	}
	return found, nil
}

func notFound(ref string) error {
	return errs.WithHint(errs.New(errs.NotFound, "%s: artifact does not exist", ref), "\"proa artifact ls\" lists what there is")
}

func (s *Store) readIndex() (*imgspec.Index, error) {
	ix := &imgspec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imgspec.MediaTypeImageIndex}
	raw, err := os.ReadFile(s.indexFile())
	if errors.Is(err, fs.ErrNotExist) {
		return ix, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, ix); err != nil {
		return nil, errs.New(errs.Corrupt, "cannot read %s: %w", s.indexFile(), err)
	}
	for _, d := range ix.Manifests {
		if err := d.Digest.Validate(); err != nil {
			return nil, errs.New(errs.Corrupt, "cannot read %s: %w", s.indexFile(), err)
		}
	}
	return ix, nil
}

func (s *Store) indexFile() string { return filepath.Join(s.dir, imgspec.ImageIndexFile) }

func (s *Store) blob(d digest.Digest) string {
	return filepath.Join(s.dir, imgspec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}
