// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
)

// AddOptions describe the artifact that Add makes.
type AddOptions struct {
	Type        string            // of the artifact; empty: UnknownType
	FileType    string            // of every file; empty: told by the content
	Annotations map[string]string // of every file
	Append      bool              // to the artifact of that name
	Replace     bool              // the artifact of that name
}

// Add makes an artifact of files and returns its digest. Kind Exists: one has
// the name, and neither Append nor Replace was said.
func (s *Store) Add(name string, files []string, o AddOptions) (d digest.Digest, err error) {
	full, err := s.normalize(name)
	if err != nil {
		return "", err
	}
	u, err := s.begin()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, u.end()) }()
	ix, err := s.readIndex()
	if err != nil {
		return "", err
	}
	var layers []imgspec.Descriptor
	for _, f := range files {
		layers = append(layers, imgspec.Descriptor{Annotations: map[string]string{imgspec.AnnotationTitle: filepath.Base(f)}})
	}
	// What cannot be is told before gigabytes are read.
	if _, err := s.compose(ix, full, layers, o); err != nil {
		return "", errs.Wrap(err, "add to artifact", name)
	}
	for i, f := range files {
		if layers[i], err = u.addFile(f, o); err != nil {
			return "", errs.Wrap(err, "add to artifact", name)
		}
	}
	if _, err := u.putBytes(imgspec.DescriptorEmptyJSON.Data); err != nil {
		return "", err
	}
	err = s.edit(func(ix *imgspec.Index) error {
		m, err := s.compose(ix, full, layers, o)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if d, err = u.putBytes(raw); err == nil {
			setName(ix, full, m, d, len(raw))
		}
		return err
	})
	return d, errs.Wrap(err, "add to artifact", name)
}

// compose makes the manifest of the files, and of those that the artifact has.
func (s *Store) compose(ix *imgspec.Index, name string, layers []imgspec.Descriptor, o AddOptions) (*imgspec.Manifest, error) {
	m := &imgspec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imgspec.MediaTypeImageManifest,
		ArtifactType: o.Type, Config: imgspec.DescriptorEmptyJSON,
	}
	if m.ArtifactType == "" {
		m.ArtifactType = UnknownType
	}
	i := indexOf(ix, name)
	switch {
	case i < 0 && o.Append:
		return nil, notFound(name)
	case i >= 0 && o.Append:
		a, err := s.read(ix.Manifests[i])
		if err != nil {
			return nil, err
		}
		m = &a.Manifest
	case i >= 0 && !o.Replace:
		return nil, exists(name)
	}
	if m.Annotations[imgspec.AnnotationCreated] == "" {
		m.Annotations = maps.Clone(m.Annotations)
		if m.Annotations == nil {
			m.Annotations = map[string]string{}
		}
		m.Annotations[imgspec.AnnotationCreated] = time.Now().UTC().Format(time.RFC3339Nano)
	}
	for _, l := range layers {
		if slices.ContainsFunc(m.Layers, func(h imgspec.Descriptor) bool { return titleOf(h) == titleOf(l) }) {
			return nil, errs.New(errs.Exists, "the artifact has a file %q already", titleOf(l))
		}
		m.Layers = append(m.Layers, l)
	}
	return m, nil
}

func exists(name string) error {
	return errs.WithHint(errs.New(errs.Exists, "%s: artifact already exists", name), "add --append to put the files into it, or --replace")
}

// addFile makes a blob of a file.
func (u *use) addFile(path string, o AddOptions) (l imgspec.Descriptor, err error) {
	title := filepath.Base(path)
	in, err := os.Open(path)
	if err != nil {
		return l, openError(err)
	}
	defer in.Close()
	if fi, err := in.Stat(); err == nil && fi.IsDir() {
		return l, errs.WithHint(errs.New(errs.Invalid, "%s is a directory", path), "tar -cf %s.tar %s", title, path)
	}
	l, err = u.putStream(in)
	if err != nil {
		return l, err
	}
	if o.FileType != "" {
		l.MediaType = o.FileType
	}
	l.Annotations = map[string]string{}
	maps.Copy(l.Annotations, o.Annotations)
	l.Annotations[imgspec.AnnotationTitle] = title
	return l, nil
}

// putStream makes a blob of all that r gives.
func (u *use) putStream(r io.Reader) (l imgspec.Descriptor, err error) {
	tmp, err := os.CreateTemp(u.tmp, "blob-")
	if err != nil {
		return l, err
	}
	defer tmp.Close()
	sum, head := digest.SHA256.Digester(), make([]byte, 512)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return l, err
	}
	l.MediaType = http.DetectContentType(head[:n])
	w := io.MultiWriter(tmp, sum.Hash())
	if _, err = w.Write(head[:n]); err != nil {
		return l, err
	}
	rest, err := io.Copy(w, r)
	if err != nil {
		return l, err
	}
	if err := tmp.Sync(); err != nil {
		return l, err
	}
	l.Digest, l.Size = sum.Digest(), int64(n)+rest
	return l, os.Rename(tmp.Name(), u.s.blob(l.Digest))
}

func titleOf(d imgspec.Descriptor) string { return d.Annotations[imgspec.AnnotationTitle] }

func openError(err error) error {
	kind := errs.Internal
	if errors.Is(err, os.ErrNotExist) {
		kind = errs.NotFound
	} else if errors.Is(err, os.ErrPermission) {
		kind = errs.Denied
	}
	return &errs.Error{Kind: kind, Err: err}
}
