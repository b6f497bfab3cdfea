// SPDX-License-Identifier: Apache-2.0

// Package foreign finds images in other stores of the same user and the same
// library, podman's for one. Reading changes nothing in them.
package foreign

import (
	"os"
	"path/filepath"
	"strings"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/types"
	"go.podman.io/storage"
	storagetypes "go.podman.io/storage/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/shortname"
)

// Place is where another store lies, and an image in it.
type Place struct {
	driver, graph, run string
	options            []string
	Image              string
}

// Own is the store that asks.
type Own struct {
	Root string
	// Conf is where the user says that storage.conf is; Own does not heed it.
	Conf string
}

// Parse reads what stands behind containers-storage: [DRIVER@GRAPH+RUN:OPTIONS]IMAGE,
// or IMAGE alone in the store that the user's storage.conf names. Kind Invalid: it
// names no image, or the store that asks.
func Parse(rest string, own Own) (*Place, error) {
	f := &Place{Image: rest}
	place, image, ok := strings.Cut(rest, "]")
	if strings.HasPrefix(rest, "[") {
		if !ok {
			return nil, errs.WithHint(errs.New(errs.Invalid, "invalid reference format: %q: the bracket is not closed", rest),
				"containers-storage:[overlay@GRAPHROOT+RUNROOT]IMAGE")
		}
		f.parsePlace(place[1:])
		f.Image = image
	}
	if f.Image == "" {
		return nil, errs.WithHint(errs.New(errs.Invalid, "invalid reference format: %q names no image", imagename.ContainersStorage+":"+rest), "containers-storage:IMAGE")
	}
	if err := f.complete(own.Conf); err != nil {
		return nil, err
	}
	if followed(f.graph) == followed(own.Root) {
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

func (f *Place) parsePlace(place string) {
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

// complete fills in what the user omitted: from storage.conf, which
// Proa's own store does not heed.
func (f *Place) complete(conf string) error {
	if f.graph == "" {
		const env = "CONTAINERS_STORAGE_CONF"
		ours := os.Getenv(env)
		_ = os.Unsetenv(env)
		if conf != "" {
			_ = os.Setenv(env, conf)
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

func (f *Place) noImage() error {
	return errs.WithHint(errs.New(errs.NotFound, "No such image: %s in the store %s", f.Image, f.graph),
		"\"podman images\" lists podman's; another store is named by containers-storage:[overlay@GRAPHROOT+RUNROOT]IMAGE")
}

// Open opens the store for writing; the caller shuts it down and frees it.
func (f *Place) Open() (storage.Store, error) {
	o := storage.StoreOptions{GraphRoot: f.graph, RunRoot: f.run, GraphDriverName: f.driver, GraphDriverOptions: f.options}
	if f.driver == "overlay" {
		o.GraphDriverOptions = append(o.GraphDriverOptions, "overlay.skip_mount_home=true")
	}
	st, err := storage.GetStore(o)
	return st, errs.Wrap(err, "open the store", f.graph)
}

// Read opens the store so that nothing in it can change: as the additional one
// of an empty store below tmp, which done removes. Its locks are only shared.
func (f *Place) Read(tmp string) (st storage.Store, done func(), err error) {
	if _, err := os.Stat(filepath.Join(f.graph, f.driver+"-images", "images.lock")); err != nil {
		return nil, nil, f.noImage()
	}
	dir, err := os.MkdirTemp(tmp, "foreign-")
	if err != nil {
		return nil, nil, err
	}
	front := &Place{driver: f.driver, graph: filepath.Join(dir, "root"), run: filepath.Join(dir, "run"),
		options: append(f.options, f.driver+".imagestore="+f.graph)}
	if st, err = front.Open(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, nil, err
	}
	return st, func() {
		_, _ = st.Shutdown(true)
		st.Free()
		_ = os.RemoveAll(dir)
	}, nil
}

// Find looks for the image as Resolve does in Proa's store, and returns the
// names that it is asked for by.
func (f *Place) Find(st storage.Store, sys *types.SystemContext) (*storage.Image, []string, error) {
	named, err := imagename.Parse(f.Image)
	hex, idLike := imagename.IsID(f.Image)
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
		if imagename.IsShort(f.Image) {
			if local, err := imagename.Parse("localhost/" + f.Image); err == nil {
				candidates = append(candidates, local)
			}
			more, _ := shortname.Candidates(f.Image)
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

// namedRef is an image of another store as the signature policy knows it: by
// the place of that store, and not of the empty one that it is read through.
type namedRef struct {
	types.ImageReference
	named      reference.Named // nil: the image has no name
	identity   string
	namespaces []string
}

func (r namedRef) DockerReference() reference.Named        { return r.named }
func (r namedRef) PolicyConfigurationIdentity() string     { return r.identity }
func (r namedRef) PolicyConfigurationNamespaces() []string { return r.namespaces }
func (r namedRef) StringWithinTransport() string           { return r.identity }

// As is an image of the store, of ref, by its names and id, for the signature
// policy. It makes the scopes that the library has for images of a store.
func (f *Place) As(ref types.ImageReference, names []string, id string) types.ImageReference {
	graph := filepath.Clean(f.graph)
	store := "[" + f.driver + "@" + graph + "]"
	r := namedRef{ImageReference: ref, identity: store + "@" + id}
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
