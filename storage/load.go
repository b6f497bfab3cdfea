// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	dockerarchive "go.podman.io/image/v5/docker/archive"
	ociarchive "go.podman.io/image/v5/oci/archive"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/blob"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/ocidir"
	"github.com/proa-containers/proa/storage/progress"
	"github.com/proa-containers/proa/storage/registry"
	"github.com/proa-containers/proa/storage/unpack"
)

// LoadOptions say where an archive comes from.
type LoadOptions struct {
	Path     string    // archive or OCI directory; empty: Input
	Input    io.Reader // read to its end
	Platform string    // of the images; empty: the host's of several, and whatever a single one is for
	Progress Progress
}

// Loaded is one image that Load added.
type Loaded struct {
	ID    string
	Names []string // familiar: alpine:latest; empty: the archive names none
}

// Lines are what Docker prints for it.
func (l Loaded) Lines() []string {
	if len(l.Names) == 0 {
		return []string{"Loaded image ID: sha256:" + l.ID}
	}
	var out []string
	for _, n := range l.Names {
		out = append(out, "Loaded image: "+n)
	}
	return out
}

// Load adds the images of a docker-archive, an oci-archive or an OCI
// directory; archives may be compressed.
func (s *Store) Load(ctx context.Context, o LoadOptions) ([]Loaded, error) {
	// From here on, so that what a killed call leaves in tmp is cleared away.
	op, err := s.begin(true)
	if err != nil {
		return nil, err
	}
	what := o.Path
	if what == "" {
		what = "standard input"
	}
	out, err := s.load(ctx, o)
	op.end(&err)
	return out, errs.Wrap(archiveError(err), "load", what)
}

// archiveError gives the library's words about an archive their kind.
func archiveError(err error) error {
	var errno syscall.Errno
	if err != nil && errs.KindOf(err) == errs.Internal && !errors.As(err, &errno) {
		return &errs.Error{Kind: errs.Corrupt, Err: err}
	}
	return err
}

func (s *Store) load(ctx context.Context, o LoadOptions) ([]Loaded, error) {
	tell := &progress.Teller{To: o.Progress}
	sys, err := s.system(registry.RemoteOptions{}, o.Platform)
	if err != nil {
		return nil, err
	}
	if o.Path != "" {
		fi, err := os.Stat(o.Path)
		if err != nil {
			return nil, errs.OfFile(err)
		}
		if fi.IsDir() {
			return s.loadLayout(ctx, sys, o.Path, nil, tell)
		}
	}
	file, done, err := s.plainTar(o)
	if err != nil {
		return nil, err
	}
	defer done()
	kind, err := archiveKind(file)
	if err != nil {
		return nil, err
	}
	if kind == "docker" {
		return s.loadDocker(ctx, sys, file, tell)
	}
	archive := o.Path
	if archive == "" {
		archive = file
	}
	return s.loadOCIArchive(ctx, sys, file, archive, tell)
}

// plainTar returns the path of an uncompressed archive: the file itself, or a
// temporary copy that done removes.
func (s *Store) plainTar(o LoadOptions) (file string, done func(), err error) {
	in := o.Input
	if o.Path != "" {
		f, err := os.Open(o.Path)
		if err != nil {
			return "", nil, errs.OfFile(err)
		}
		defer f.Close()
		in = f
		if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
			head := make([]byte, 512)
			n, _ := f.ReadAt(head, 0)
			if isTar(head[:n]) {
				return o.Path, func() {}, nil
			}
		}
	}
	if in == nil {
		return "", nil, errs.New(errs.Invalid, "no archive was given")
	}
	br := bufio.NewReader(in)
	if _, err := br.Peek(1); errors.Is(err, io.EOF) {
		return "", nil, errs.New(errs.Invalid, "the archive is empty")
	}
	plain, stop, err := blob.Decompress(br)
	if err != nil {
		return "", nil, err
	}
	defer stop()
	tmp, err := os.CreateTemp(s.tmpDir(), "load-")
	if err != nil {
		return "", nil, err
	}
	done = func() { _ = os.Remove(tmp.Name()) }
	_, err = io.Copy(tmp, plain)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		done()
		return "", nil, err
	}
	return tmp.Name(), done, nil
}

func isTar(head []byte) bool {
	return len(head) >= 262 && bytes.Equal(head[257:262], []byte("ustar"))
}

// archiveKind tells docker-archive from oci-archive. An archive that is both,
// as newer Docker writes them, is read as Docker's.
func archiveKind(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	kind, files := "", false
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) && kind != "" {
			return kind, nil
		}
		if err != nil {
			var neither error = errs.New(errs.Invalid, "it is neither a docker-archive nor an oci-archive")
			if files && errors.Is(err, io.EOF) {
				neither = errs.WithHint(neither, "an archive of a root file system becomes an image with: proa import FILE NAME")
			}
			return "", neither
		}
		files = true
		switch path.Clean(h.Name) {
		case "manifest.json":
			return "docker", nil
		case "index.json":
			kind = "oci"
		}
	}
}

func (s *Store) loadDocker(ctx context.Context, sys *types.SystemContext, file string, tell *progress.Teller) ([]Loaded, error) {
	r, err := dockerarchive.NewReader(sys, file)
	if err != nil {
		return nil, errs.New(errs.Corrupt, "%w", err)
	}
	defer r.Close()
	images, err := r.List()
	if err != nil {
		return nil, errs.New(errs.Corrupt, "%w", err)
	}
	var out []Loaded
	for _, refs := range images {
		var names []string
		for _, ref := range refs {
			if n := ref.DockerReference(); n != nil {
				names = append(names, n.String())
			}
		}
		l, err := s.loadOne(ctx, sys, refs[0], fetchOptions{tell: tell, names: names})
		if err != nil {
			return out, err
		}
		out = append(out, l)
	}
	return out, nil
}

func (s *Store) loadOne(ctx context.Context, sys *types.SystemContext, ref types.ImageReference, fo fetchOptions) (Loaded, error) {
	_, id, err := s.fetch(ctx, ref, sys, fo)
	if err != nil {
		return Loaded{}, err
	}
	l := Loaded{ID: id}
	for _, n := range fo.names {
		l.Names = append(l.Names, imagename.Familiar(n))
	}
	return l, nil
}

// loadOCIArchive unpacks the archive's blobs: an OCI layout is a directory. For
// the signature policy it stays the archive that the user named.
func (s *Store) loadOCIArchive(ctx context.Context, sys *types.SystemContext, file, archive string, tell *progress.Teller) ([]Loaded, error) {
	as, err := ociarchive.NewReference(archive, "")
	if err != nil {
		return nil, err
	}
	dir, err := s.unpackOCIArchive(file)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return s.loadLayout(ctx, sys, dir, as, tell)
}

// unpackOCIArchive makes a directory of the archive; the caller removes it.
func (s *Store) unpackOCIArchive(file string) (dir string, err error) {
	if dir, err = os.MkdirTemp(s.tmpDir(), "oci-"); err != nil {
		return "", err
	}
	f, err := os.Open(file)
	if err == nil {
		defer f.Close()
		_, err = unpack.Tar(dir, f, unpack.Options{IgnoreChown: true, FilesOnly: true})
	}
	if err != nil {
		_ = os.RemoveAll(dir)
	}
	return dir, err
}

// loadLayout adds every image of an OCI directory.
func (s *Store) loadLayout(ctx context.Context, sys *types.SystemContext, dir string, as types.ImageReference, tell *progress.Teller) ([]Loaded, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := ocidir.CheckIndex(dir); err != nil {
		return nil, err
	}
	list, err := ocilayout.List(dir)
	if err != nil {
		return nil, errs.New(errs.Invalid, "it is not an OCI image directory: %w", err)
	}
	var out []Loaded
	for i, e := range list {
		if err := ocidir.CheckManifest(dir, e.ManifestDescriptor.Digest); err != nil {
			return out, err
		}
		ref, err := ocilayout.NewIndexReference(dir, i)
		if err != nil {
			return out, err
		}
		l, err := s.loadOne(ctx, sys, ref, fetchOptions{tell: tell, names: ocidir.Names(e.ManifestDescriptor.Annotations), as: as, layout: dir})
		if err != nil {
			return out, err
		}
		out = append(out, l)
	}
	if len(out) == 0 {
		return nil, errs.New(errs.Invalid, "it holds no image")
	}
	return mergeLoaded(out), nil
}

// mergeLoaded joins entries of one image: a layout has one for each name.
func mergeLoaded(in []Loaded) []Loaded {
	var out []Loaded
	for _, l := range in {
		i := slices.IndexFunc(out, func(o Loaded) bool { return o.ID == l.ID })
		if i < 0 {
			out = append(out, l)
			continue
		}
		for _, n := range l.Names {
			if !slices.Contains(out[i].Names, n) {
				out[i].Names = append(out[i].Names, n)
			}
		}
	}
	return out
}
