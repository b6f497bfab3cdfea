// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/errs"
)

// ExtractOptions choose one file; without them it is all.
type ExtractOptions struct {
	Title  string
	Digest string
}

// Extract writes an artifact's files into a directory under their titles, or
// one file to a path. A title that leads out of the directory is refused: it is
// whoever made the artifact who chose it. What is written is verified before it
// has its name.
func (s *Store) Extract(ref, target string, o ExtractOptions) (err error) {
	if _, err := os.Stat(s.dir); err != nil {
		return notFound(ref)
	}
	u, err := s.share()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.end()) }()
	a, err := s.Find(ref)
	if err != nil {
		return err
	}
	layers, err := choose(a, ref, o)
	if err != nil {
		return err
	}
	fi, err := os.Stat(target)
	if err == nil && fi.IsDir() {
		return s.extractAll(layers, target, o)
	}
	if len(layers) != 1 {
		return errs.WithHint(errs.New(errs.Invalid, "the artifact %s has %d files, and %s is not a directory", ref, len(layers), target),
			"choose one of %s with --title, or name a directory", strings.Join(titles(layers), ", "))
	}
	return s.copyOut(layers[0], target, err == nil && !fi.Mode().IsRegular())
}

func choose(a *Artifact, ref string, o ExtractOptions) ([]imgspec.Descriptor, error) {
	if o.Title == "" && o.Digest == "" {
		if len(a.Manifest.Layers) == 0 {
			return nil, errs.New(errs.NotFound, "the artifact %s has no files", ref)
		}
		return a.Manifest.Layers, nil
	}
	var found []imgspec.Descriptor
	for _, l := range a.Manifest.Layers {
		hex := strings.TrimPrefix(o.Digest, "sha256:")
		if o.Title != "" && titleOf(l) == o.Title || hex != "" && strings.HasPrefix(l.Digest.Encoded(), hex) {
			found = append(found, l)
		}
	}
	switch {
	case len(found) == 0 && o.Title != "":
		return nil, errs.WithHint(errs.New(errs.NotFound, "the artifact %s has no file with the title %q", ref, o.Title), "proa artifact inspect %s", ref)
	case len(found) == 0:
		return nil, errs.WithHint(errs.New(errs.NotFound, "the artifact %s has no file with the digest %q", ref, o.Digest), "proa artifact inspect %s", ref)
	case len(found) > 1:
		return nil, errs.WithHint(errs.New(errs.Invalid, "several files of the artifact %s match", ref), "choose one by its whole --digest")
	}
	return found, nil
}

func titles(layers []imgspec.Descriptor) (out []string) {
	for _, l := range layers {
		name := titleOf(l)
		if name == "" {
			name = l.Digest.String()
		}
		out = append(out, fmt.Sprintf("%q", name))
	}
	return out
}

// extractAll looks at all names before it writes the first file.
func (s *Store) extractAll(layers []imgspec.Descriptor, dir string, o ExtractOptions) error {
	names := map[string]bool{}
	var list []string
	for _, l := range layers {
		name := titleOf(l)
		if name == "" || o.Digest != "" {
			name = strings.ReplaceAll(l.Digest.String(), ":", "-")
		}
		if name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return errs.WithHint(errs.New(errs.Denied, "the file title %q is not a plain file name", name), "extract it by itself: --digest %s", l.Digest)
		}
		if names[name] {
			return errs.WithHint(errs.New(errs.Invalid, "two files have the title %q", name), "extract each by itself: --digest %s", l.Digest)
		}
		names[name] = true
		list = append(list, name)
	}
	for i, l := range layers {
		if err := s.copyOut(l, filepath.Join(dir, list[i]), false); err != nil {
			return err
		}
	}
	return nil
}

// copyOut writes one file: beside the path first, or into a device or pipe.
func (s *Store) copyOut(l imgspec.Descriptor, path string, inPlace bool) error {
	in, err := os.Open(s.blob(l.Digest))
	if err != nil {
		return errs.New(errs.Corrupt, "file %s is missing in the store: %w", l.Digest, err)
	}
	defer in.Close()
	if inPlace {
		out, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return openError(err)
		}
		return errors.Join(verify(out, in, l), out.Close())
	}
	out, err := atomicfile.Create(path, 0o644, atomicfile.Volatile)
	if err != nil {
		return openError(err)
	}
	defer out.Abort()
	if err := verify(out, in, l); err != nil {
		return err
	}
	return out.Commit()
}

func verify(w io.Writer, r io.Reader, l imgspec.Descriptor) error {
	v := l.Digest.Verifier()
	n, err := io.Copy(io.MultiWriter(w, v), r)
	if err != nil {
		return err
	}
	if n != l.Size || !v.Verified() {
		return errs.WithHint(errs.New(errs.Corrupt, "file %s was changed in the store", l.Digest), "pull or add the artifact again with --replace")
	}
	return nil
}
