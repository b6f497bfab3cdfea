// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/directory"
	dockerarchive "go.podman.io/image/v5/docker/archive"
	"go.podman.io/image/v5/docker/reference"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/pack"
	"github.com/proa-containers/proa/storage/registry"
)

// SaveOptions say what an archive is to be.
type SaveOptions struct {
	Format string    // docker-archive (the default), oci-archive, oci-dir, docker-dir
	Path   string    // of the archive or directory; empty: Output
	Output io.Writer // archives only
	// Compress the layers (docker-dir), or leave them as they are (OCI).
	Compress, Uncompressed bool
}

// Save writes images, with the names by which they are asked for, into one
// archive or directory. A Path that exists is replaced when all went well.
func (s *Store) Save(ctx context.Context, refs []string, o SaveOptions) (err error) {
	op, err := s.begin(false)
	if err != nil {
		return err
	}
	defer op.end(&err)
	list, err := s.toSave(refs, strings.HasPrefix(o.Format, "oci"))
	if err != nil {
		return err
	}
	sys, err := s.system(registry.RemoteOptions{}, "")
	if err != nil {
		return err
	}
	sys.DirForceCompress, sys.OCIAcceptUncompressedLayers = o.Compress, o.Uncompressed
	switch o.Format {
	case "", "docker-archive", "docker":
		err = s.saveArchive(o, func(w io.Writer) error { return op.saveDocker(ctx, sys, list, w) })
	case "oci-archive", "oci":
		err = s.saveArchive(o, func(w io.Writer) error { return op.saveOCI(ctx, sys, list, w) })
	case "oci-dir", "docker-dir":
		err = op.saveDir(ctx, sys, list, o)
	default:
		return errs.New(errs.Invalid, "unknown format %q: docker-archive, oci-archive, oci-dir and docker-dir are known", o.Format)
	}
	return errs.Wrap(err, "save image", refs[0])
}

// saveItem is one image with the names to save.
type saveItem struct {
	img   *Image
	names []reference.NamedTagged
}

// toSave finds the images. Of a list all images are saved where the format has
// indexes, else the one for this machine.
func (s *Store) toSave(refs []string, indexes bool) ([]saveItem, error) {
	if len(refs) == 0 {
		return nil, errs.New(errs.Invalid, "no image was named")
	}
	var out []saveItem
	at := map[string]int{}
	for _, r := range refs {
		img, err := s.Resolve(r)
		if err != nil {
			return nil, err
		}
		name := index.GivenName(img, r)
		if img.List && !indexes {
			remote := ""
			if img, remote, err = s.Instance(img, ""); err == nil && img == nil {
				err = errs.WithHint(errs.New(errs.NotFound, "the image of list %s for this machine is not here", r), "proa pull %s", remote)
			}
			if err != nil {
				return nil, err
			}
		}
		i, ok := at[img.ID]
		if !ok {
			i = len(out)
			at[img.ID] = i
			out = append(out, saveItem{img: img})
		}
		if n := name; n != "" {
			if named, err := imagename.Parse(n); err == nil {
				if t, ok := named.(reference.NamedTagged); ok {
					out[i].names = append(out[i].names, t)
				}
			}
		}
	}
	return out, nil
}

// saveArchive streams an archive to where it belongs.
func (s *Store) saveArchive(o SaveOptions, write func(io.Writer) error) error {
	if o.Path == "" {
		return write(o.Output)
	}
	err := atomicfile.Output(o.Path, 0o600, write)
	var own *errs.Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	return errs.OfFile(err)
}

func (o *op) saveDocker(ctx context.Context, sys *types.SystemContext, list []saveItem, w io.Writer) error {
	// The library writes to a path only: that of a pipe will do.
	r, pw, err := os.Pipe()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, r)
		if err != nil {
			// The library opens the pipe for reading too, so it would not see
			// that nobody reads any more.
			cancel()
			_, _ = io.Copy(io.Discard, r)
		}
		r.Close()
		done <- err
	}()
	err = o.writeDocker(ctx, sys, list, fmt.Sprintf("/proc/self/fd/%d", pw.Fd()))
	pw.Close()
	if cerr := <-done; cerr != nil {
		return cerr
	}
	return err
}

func (o *op) writeDocker(ctx context.Context, sys *types.SystemContext, list []saveItem, path string) (err error) {
	aw, err := dockerarchive.NewWriter(sys, path)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := aw.Close(); err == nil {
			err = cerr
		}
	}()
	for _, i := range list {
		var first reference.NamedTagged
		one := *sys
		if len(i.names) > 0 {
			first, one.DockerArchiveAdditionalTags = i.names[0], i.names[1:]
		}
		to, err := aw.NewReference(first)
		if err != nil {
			return err
		}
		if _, err := o.copyOut(ctx, i.img, to, copyOptions{sys: &one}); err != nil {
			return err
		}
	}
	return nil
}

func (o *op) saveOCI(ctx context.Context, sys *types.SystemContext, list []saveItem, w io.Writer) error {
	dir, err := os.MkdirTemp(o.s.tmpDir(), "save-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := o.writeLayout(ctx, sys, list, dir); err != nil {
		return err
	}
	return pack.Tar(w, dir, pack.Options{})
}

func (o *op) writeLayout(ctx context.Context, sys *types.SystemContext, list []saveItem, dir string) error {
	for _, i := range list {
		names := []string{""}
		if len(i.names) > 0 {
			names = nil
			for _, n := range i.names {
				names = append(names, n.String())
			}
		}
		if i.img.List {
			if err := o.writeListLayout(ctx, sys, i.img, names, dir); err != nil {
				return err
			}
			continue
		}
		for _, n := range names {
			to, err := ocilayout.NewReference(dir, n)
			if err != nil {
				return err
			}
			if _, err := o.copyOut(ctx, i.img, to, copyOptions{sys: sys, format: imgspec.MediaTypeImageManifest}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *op) saveDir(ctx context.Context, sys *types.SystemContext, list []saveItem, so SaveOptions) error {
	if so.Path == "" {
		return errs.New(errs.Invalid, "the format %s needs a directory: --output DIRECTORY", so.Format)
	}
	if so.Format == "oci-dir" {
		return o.writeLayout(ctx, sys, list, so.Path)
	}
	if len(list) > 1 {
		return errs.New(errs.Invalid, "the format docker-dir holds one image")
	}
	to, err := directory.NewReference(so.Path)
	if err != nil {
		return err
	}
	_, err = o.copyOut(ctx, list[0].img, to, copyOptions{sys: sys})
	return err
}
