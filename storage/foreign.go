// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"go.podman.io/image/v5/docker/reference"
	cistorage "go.podman.io/image/v5/storage"
	"go.podman.io/image/v5/types"
	"go.podman.io/storage"
	storagetypes "go.podman.io/storage/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/registry"
)

// foreign is the place of another store, and an image in it.
type foreign struct {
	driver, graph, run string
	options            []string
	image              string
}

func (s *Store) parseForeign(rest string) (*foreign, error) {
	f := &foreign{image: rest}
	place, image, ok := strings.Cut(rest, "]")
	if strings.HasPrefix(rest, "[") {
		if !ok {
			return nil, errs.WithHint(errs.New(errs.Invalid, "invalid reference format: %q: the bracket is not closed", rest),
				"containers-storage:[overlay@GRAPHROOT+RUNROOT]IMAGE")
		}
		f.parsePlace(place[1:])
		f.image = image
	}
	if f.image == "" {
		return nil, errs.WithHint(errs.New(errs.Invalid, "invalid reference format: %q names no image", imagename.ContainersStorage+":"+rest), "containers-storage:IMAGE")
	}
	if err := s.completeForeign(f); err != nil {
		return nil, err
	}
	if followed(f.graph) == followed(s.root) {
		return nil, errs.New(errs.Invalid, "%s is the store of Proa itself", f.graph)
	}
	return f, nil
}

// followed is a path without symbolic links, as far as it exists.
func followed(path string) string {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	return filepath.Clean(path)
}

func (f *foreign) parsePlace(place string) {
	driver, dirs, ok := strings.Cut(place, "@")
	if !ok {
		driver, dirs = "", place
	}
	dirs, options, _ := strings.Cut(dirs, ":")
	f.driver = driver
	f.graph, f.run, _ = strings.Cut(dirs, "+")
	if options != "" {
		f.options = strings.Split(options, ",")
	}
}

// completeForeign fills in what the user left away: from storage.conf, which
// Proa's own store does not heed.
func (s *Store) completeForeign(f *foreign) error {
	if f.graph == "" {
		const env = "CONTAINERS_STORAGE_CONF"
		ours := os.Getenv(env)
		_ = os.Unsetenv(env)
		if s.userConf != "" {
			_ = os.Setenv(env, s.userConf)
		}
		o, err := storagetypes.LoadStoreOptions(storagetypes.LoadOptions{})
		_ = os.Setenv(env, ours)
		if err != nil {
			return errs.WithHint(errs.Wrap(err, "read", "storage.conf"), "name the store: containers-storage:[overlay@GRAPHROOT+RUNROOT]IMAGE")
		}
		f.graph = o.GraphRoot
		if f.run == "" {
			f.run = o.RunRoot
		}
		if f.driver == "" {
			f.driver = o.GraphDriverName
		}
	}
	if !filepath.IsAbs(f.graph) {
		return errs.New(errs.Invalid, "the store %q is no absolute path", f.graph)
	}
	if f.driver == "" {
		f.driver = "overlay"
		if _, err := os.Stat(filepath.Join(f.graph, "vfs-images")); err == nil {
			f.driver = "vfs"
		}
	}
	if f.run == "" {
		f.run = f.graph + "-run"
	}
	return nil
}

func (f *foreign) noImage() error {
	return errs.WithHint(errs.New(errs.NotFound, "No such image: %s in the store %s", f.image, f.graph),
		"\"podman images\" lists podman's; another store is named by containers-storage:[overlay@GRAPHROOT+RUNROOT]IMAGE")
}

// open opens the store for writing.
func (f *foreign) open() (storage.Store, error) {
	o := storage.StoreOptions{GraphRoot: f.graph, RunRoot: f.run, GraphDriverName: f.driver, GraphDriverOptions: f.options}
	if f.driver == "overlay" {
		o.GraphDriverOptions = append(o.GraphDriverOptions, "overlay.skip_mount_home=true")
	}
	st, err := storage.GetStore(o)
	return st, errs.Wrap(err, "open the store", f.graph)
}

// read opens the store so that nothing in it can change: as the additional one
// of an empty store, which done removes. Its locks are only shared.
func (f *foreign) read(o *op) (st storage.Store, done func(), err error) {
	if _, err := os.Stat(filepath.Join(f.graph, f.driver+"-images", "images.lock")); err != nil {
		return nil, nil, f.noImage()
	}
	dir, err := os.MkdirTemp(o.s.tmpDir(), "foreign-")
	if err != nil {
		return nil, nil, err
	}
	front := &foreign{driver: f.driver, graph: filepath.Join(dir, "root"), run: filepath.Join(dir, "run"),
		options: append(f.options, f.driver+".imagestore="+f.graph)}
	if st, err = front.open(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, nil, err
	}
	return st, func() {
		_, _ = st.Shutdown(true)
		st.Free()
		_ = os.RemoveAll(dir)
	}, nil
}

// find looks for the image as Resolve does in Proa's store, and returns the
// names that it is asked for by.
func (f *foreign) find(st storage.Store, sys *types.SystemContext) (*storage.Image, []string, error) {
	named, err := imagename.Parse(f.image)
	hex, idLike := imagename.IsID(f.image)
	if err != nil && !idLike {
		return nil, nil, err
	}
	if err == nil {
		if d, ok := named.(reference.Digested); ok {
			if list, err := st.ImagesByDigest(d.Digest()); err == nil && len(list) > 0 {
				return list[0], nil, nil
			}
			return nil, nil, f.noImage()
		}
		candidates := []reference.Named{named}
		if imagename.IsShort(f.image) {
			if local, err := imagename.Parse("localhost/" + f.image); err == nil {
				candidates = append(candidates, local)
			}
			more, _ := registry.Candidates(sys, f.image)
			candidates = append(candidates, more...)
		}
		for _, c := range candidates {
			if img, err := st.Image(c.String()); err == nil {
				return img, []string{c.String()}, nil
			}
		}
	}
	if img, err := st.Image(hex); idLike && err == nil {
		return img, img.Names, nil
	}
	return nil, nil, f.noImage()
}

// foreignRef is an image of another store as the signature policy knows it: by
// the place of that store, and not of the empty one that it is read through.
type foreignRef struct {
	types.ImageReference
	named      reference.Named // nil: the image has no name
	identity   string
	namespaces []string
}

func (r foreignRef) DockerReference() reference.Named        { return r.named }
func (r foreignRef) PolicyConfigurationIdentity() string     { return r.identity }
func (r foreignRef) PolicyConfigurationNamespaces() []string { return r.namespaces }
func (r foreignRef) StringWithinTransport() string           { return r.identity }

// asNamed makes the scopes that the library has for images of a store.
func (f *foreign) asNamed(ref types.ImageReference, names []string, id string) foreignRef {
	graph := filepath.Clean(f.graph)
	store := "[" + f.driver + "@" + graph + "]"
	r := foreignRef{ImageReference: ref, identity: store + "@" + id}
	if len(names) > 0 {
		if named, err := reference.ParseNormalizedNamed(names[0]); err == nil {
			r.named, r.identity = named, store+named.String()+"@"+id
			r.namespaces = append(r.namespaces, store+named.String())
			for n := named.Name(); n != ""; n = n[:max(0, strings.LastIndexByte(n, '/'))] {
				r.namespaces = append(r.namespaces, store+n)
			}
		}
	}
	r.namespaces = append(r.namespaces, store, "["+graph+"]")
	return r
}

// pullForeign copies an image out of another store of the same user.
func (s *Store) pullForeign(ctx context.Context, sys *types.SystemContext, rest string, o PullOptions) (img *Image, err error) {
	op, err := s.begin(false)
	if err != nil {
		return nil, err
	}
	defer op.end(&err)
	f, err := s.parseForeign(rest)
	if err != nil {
		return nil, err
	}
	st, done, err := f.read(op)
	if err != nil {
		return nil, err
	}
	defer done()
	found, names, err := f.find(st, sys)
	if err != nil {
		return nil, err
	}
	ref, err := cistorage.Transport.NewStoreReference(st, nil, found.ID)
	if err != nil {
		return nil, err
	}
	_, id, err := s.fetch(ctx, ref, sys, fetchOptions{tell: &teller{p: o.Progress}, names: names, remote: o.RemoteOptions, as: f.asNamed(ref, names, found.ID)})
	if err != nil {
		return nil, errs.Wrap(err, "pull", f.image)
	}
	return s.Resolve(id)
}

// writeForeign is where a push into another store goes. done ends it.
func (s *Store) writeForeign(rest string) (to types.ImageReference, done func(), err error) {
	f, err := s.parseForeign(rest)
	if err != nil {
		return nil, nil, err
	}
	named, err := imagename.Parse(f.image)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.open()
	if err != nil {
		return nil, nil, err
	}
	to, err = cistorage.Transport.NewStoreReference(st, named, "")
	if err != nil {
		st.Free()
		return nil, nil, err
	}
	return to, func() {
		_, _ = st.Shutdown(false)
		st.Free()
	}, nil
}
