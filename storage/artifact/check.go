// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Problem is an artifact that is not what its digest says.
type Problem struct {
	Name     string
	Digest   digest.Digest
	Text     string
	Repaired bool
}

// Check reads every file of every artifact. With repair it takes the names of
// broken ones away.
func (s *Store) Check(ctx context.Context, repair bool) ([]Problem, error) {
	if _, err := os.Stat(s.dir); err != nil {
		return nil, nil // nothing is made only to look into it
	}
	out, err := s.check(ctx)
	if err != nil || !repair {
		return out, err
	}
	for i := range out {
		if _, err := s.Remove(out[i].Name); err != nil {
			return out, err
		}
		out[i].Repaired = true
	}
	return out, nil
}

func (s *Store) check(ctx context.Context) (out []Problem, err error) {
	u, err := s.share()
	if err != nil {
		return nil, err
	}
	defer func() { _ = u.end() }()
	ix, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	for _, d := range ix.Manifests {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		if text := s.problem(d); text != "" {
			out = append(out, Problem{Name: nameOf(d), Digest: d.Digest, Text: text})
		}
	}
	return out, nil
}

func (s *Store) problem(d imgspec.Descriptor) string {
	a, err := s.read(d)
	if err != nil {
		return "its manifest cannot be read, or was changed"
	}
	for _, l := range append(a.Manifest.Layers, a.Manifest.Config) {
		in, err := os.Open(s.blob(l.Digest))
		if err == nil {
			err = verify(io.Discard, in, l)
			in.Close()
		}
		if err != nil {
			return fmt.Sprintf("file %q is missing or was changed", titleOf(l))
		}
	}
	return ""
}
