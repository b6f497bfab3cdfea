// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
)

// Stage is an artifact on its way in: an OCI layout that somebody fills. The
// library that does writes manifests and the index in place, so it never works
// on the store itself.
type Stage struct{ u *use }

// Stage begins one. The blobs that the store has are there already. The caller
// ends it with End, after Commit or without.
func (s *Store) Stage() (*Stage, error) {
	u, err := s.begin()
	if err != nil {
		return nil, err
	}
	if err := u.lend(); err != nil {
		return nil, errors.Join(err, u.end())
	}
	return &Stage{u}, nil
}

// Dir is the layout.
func (g *Stage) Dir() string { return g.u.tmp }

// End forgets what was not committed.
func (g *Stage) End() error { return g.u.end() }

// lend links the store's blobs, without manifests, into the layout.
func (u *use) lend() error {
	ix, err := u.s.readIndex()
	if err != nil {
		return err
	}
	manifests := map[string]bool{}
	for _, d := range ix.Manifests {
		manifests[u.s.blob(d.Digest)] = true
	}
	return filepath.WalkDir(filepath.Join(u.s.dir, imgspec.ImageBlobsDir), func(from string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || manifests[from] {
			return err
		}
		rel, err := filepath.Rel(u.s.dir, from)
		if err != nil {
			return err
		}
		to := filepath.Join(u.tmp, rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.Link(from, to)
	})
}

// Commit takes the blobs over and gives the manifest raw its name, in place of
// what had it.
func (g *Stage) Commit(name string, raw []byte) (d digest.Digest, err error) {
	var m imgspec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", errs.New(errs.Corrupt, "cannot read the manifest: %w", err)
	}
	for _, l := range append(m.Layers, m.Config) {
		if err := g.u.adopt(l); err != nil {
			return "", err
		}
	}
	// The manifest's own writing makes the directory durable, too.
	if d, err = g.u.putBytes(raw); err != nil {
		return "", err
	}
	return d, g.u.s.edit(func(ix *imgspec.Index) error {
		setName(ix, name, &m, d, len(raw))
		return nil
	})
}

func (u *use) adopt(l imgspec.Descriptor) error {
	if err := l.Digest.Validate(); err != nil {
		return errs.New(errs.Corrupt, "cannot read the manifest: %w", err)
	}
	from := filepath.Join(u.tmp, imgspec.ImageBlobsDir, l.Digest.Algorithm().String(), l.Digest.Encoded())
	to := u.s.blob(l.Digest)
	fi, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		fi, err = os.Stat(to) // two files with one content
	} else if err == nil {
		if err = os.MkdirAll(filepath.Dir(to), 0o700); err == nil {
			err = os.Rename(from, to)
		}
	}
	if err != nil {
		return err
	}
	if fi.Size() != l.Size {
		return errs.New(errs.Corrupt, "file %s has %d bytes; the manifest says %d", l.Digest, fi.Size(), l.Size)
	}
	return nil
}

// Layout is the store as an OCI layout to read from; nothing that it names goes
// away before release.
func (s *Store) Layout() (dir string, release func(), err error) {
	u, err := s.share()
	if err != nil {
		return "", nil, err
	}
	return s.dir, func() { _ = u.end() }, nil
}
