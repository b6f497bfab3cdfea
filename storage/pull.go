// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/types"
	"go.podman.io/storage"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/pkg/spec/platforms"
	"github.com/proa-containers/proa/storage/guard"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/progress"
	"github.com/proa-containers/proa/storage/registry"
	"github.com/proa-containers/proa/storage/shortname"
)

// PullOptions say what to fetch and from whom.
type PullOptions struct {
	registry.RemoteOptions
	Policy   spec.PullPolicy // empty: always
	Platform string          // os/arch[/variant]; empty: the host's
	AllTags  bool
	// Aside keeps the image without a name and out of lists, to be found by
	// FindAside: what a build needs for another platform must not take the name
	// from the host's image.
	Aside    bool
	Written  bool     // the name stands in a Dockerfile: see index.ResolveWritten
	Progress Progress // nil: nothing is told
}

// resolve finds the image that a pull is about in the store.
func (s *Store) resolve(ref string, o *PullOptions) (*Image, error) {
	if o.Written {
		return s.ResolveWritten(ref)
	}
	return s.Resolve(ref)
}

// Pull fetches an image, by a name as in Docker or with a transport
// (docker://, oci:, oci-archive:, docker-archive:, dir:, containers-storage:). What is visible
// afterwards is complete and verified; a killed Pull leaves nothing that the
// next writing call does not clear away. With AllTags the last image comes
// back. The name "hello" stands for the image that Proa carries itself.
//
// With the policy PullNewer it is no error that the registry cannot be reached, or has no
// such image, where the image is here.
func (s *Store) Pull(ctx context.Context, ref string, o PullOptions) (*Image, error) {
	img, err := s.pull(ctx, ref, o)
	if err == nil || o.Policy != spec.PullNewer || ctx.Err() != nil {
		return img, err
	}
	switch errs.KindOf(err) {
	case errs.Unavailable, errs.Timeout, errs.NotFound, errs.Unauthorized:
	default:
		return nil, err
	}
	here, herr := s.here(ref, &o)
	if herr != nil {
		return nil, err
	}
	tell := &progress.Teller{To: o.Progress}
	tell.Line("Status: Using the image " + imagename.Familiar(ref) + " that is here: " + err.Error())
	return here, nil
}

// here is the image for the platform of a pull, where the store has it.
func (s *Store) here(ref string, o *PullOptions) (*Image, error) {
	img, err := s.resolve(ref, o)
	if err == nil && img.List {
		if img, _, err = s.Instance(img, o.Platform); img == nil && err == nil {
			err = index.NoSuchImage(ref)
		}
	}
	if err == nil && fits(img, o.Platform) {
		return img, nil
	}
	if o.Aside {
		return s.FindAside(ref, o.Platform)
	}
	return nil, errors.Join(err, index.NoSuchImage(ref))
}

func (s *Store) pull(ctx context.Context, ref string, o PullOptions) (*Image, error) {
	if o.Policy == spec.PullMissing || o.Policy == spec.PullNever {
		img, err := s.resolve(ref, &o)
		if err == nil && fits(img, o.Platform) {
			return img, nil
		}
		if o.Policy == spec.PullNever {
			if err == nil {
				err = errs.New(errs.NotFound, "image %s is not here for the platform %s", ref, o.Platform)
			}
			return nil, err
		}
	}
	sys, err := s.system(o.RemoteOptions, o.Platform)
	if err != nil {
		return nil, err
	}
	if t, rest, ok := imagename.CutTransport(ref); ok && t == imagename.ContainersStorage {
		return s.pullForeign(ctx, sys, rest, o)
	} else if ok && t != "docker" {
		return s.pullTransport(ctx, sys, ref, o)
	} else if ok {
		ref = strings.TrimPrefix(rest, "//")
	}
	if named, err := imagename.Parse(ref); err == nil && isBuiltin(ref, named) {
		return s.pullBuiltin(ctx, o)
	}
	names, err := shortname.Candidates(ref)
	if err != nil {
		return nil, err
	}
	if o.AllTags {
		return s.pullAll(ctx, sys, names[0], ref, o)
	}
	var first error
	for _, n := range names {
		img, err := s.pullNamed(ctx, sys, n, o)
		if err == nil || ctx.Err() != nil {
			return img, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func fits(img *Image, platform string) bool {
	return platforms.Serves(platform, img.OS, img.Architecture, img.Variant)
}

// system translates the options for containers/image. An empty platform is the host's.
func (s *Store) system(ro registry.RemoteOptions, platform string) (*types.SystemContext, error) {
	sys, err := ro.SystemContext()
	if err != nil {
		return nil, err
	}
	sys.BigFilesTemporaryDir, sys.BlobInfoCacheDir = s.tmpDir(), filepath.Join(s.root, "cache")
	if platform != "" {
		sys.OSChoice, sys.ArchitectureChoice, sys.VariantChoice = platforms.Split(platform)
	}
	return sys, nil
}

// pullNamed pulls one complete name from its registry.
func (s *Store) pullNamed(ctx context.Context, sys *types.SystemContext, named reference.Named, o PullOptions) (*Image, error) {
	own := *sys // a short name's candidates have credentials each
	sys = &own
	ref, err := registry.Source(sys, named)
	if err != nil {
		return nil, err
	}
	before := ""
	if img, err := s.ResolveExact(named.String()); err == nil {
		before = img.ID
	}
	tell := &progress.Teller{To: o.Progress}
	var head string
	if t, ok := named.(reference.Tagged); ok {
		head = t.Tag() + ": Pulling from " + reference.Path(named)
	} else {
		head = named.String() + ": Pulling from " + reference.Path(named)
	}
	f, id, err := s.fetch(ctx, ref, sys, fetchOptions{tell: tell, head: head, named: named, remote: o.RemoteOptions, aside: o.Aside})
	if err != nil {
		return nil, registry.Explain(err, named)
	}
	tell.Line("Digest: " + f.topDigest.String())
	shown := reference.FamiliarString(named)
	if id == before {
		tell.Line("Status: Image is up to date for " + shown)
	} else {
		tell.Line("Status: Downloaded newer image for " + shown)
	}
	return s.Resolve(id)
}

type fetchOptions struct {
	tell   *progress.Teller
	head   string
	named  reference.Named // the image's name afterwards; nil: names
	names  []string        // complete
	remote registry.RemoteOptions
	layout string // the OCI directory that is read
	// as is what the signature policy is asked about where the image is read
	// from another place than the user named.
	as    types.ImageReference
	aside bool // see PullOptions.Aside
}

// renamed is a source that the signature policy knows by another name.
type renamed struct {
	types.ImageSource
	ref types.ImageReference
}

func (r renamed) Reference() types.ImageReference { return r.ref }

// fetch copies an image from any source into the store.
func (s *Store) fetch(ctx context.Context, ref types.ImageReference, sys *types.SystemContext, fo fetchOptions) (f *fetched, id string, err error) {
	op, err := s.begin(true)
	if err != nil {
		return nil, "", err
	}
	defer op.end(&err)
	policy, err := guard.Policy(sys)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = policy.Destroy() }()
	err = fo.remote.Retrying(ctx, func() error {
		return registry.Within(ctx, func(watched context.Context) error {
			src, err := ref.NewImageSource(watched, sys)
			if err != nil {
				return err
			}
			if fo.as != nil {
				src = renamed{src, fo.as}
			}
			f = &fetched{ctx: ctx, o: op, src: src, sys: sys, tell: fo.tell, remote: fo.remote, layout: fo.layout}
			if err = f.readManifest(watched, policy); err != nil {
				src.Close()
			}
			return err
		})
	})
	if err != nil {
		return nil, "", err
	}
	defer f.src.Close()
	if fo.head != "" {
		fo.tell.Line(fo.head)
	}
	id, err = f.store(fo)
	return f, id, err
}

// store brings in the layers and then the image itself.
func (f *fetched) store(fo fetchOptions) (string, error) {
	n := &newImage{config: f.config, manifest: f.raw, names: fo.names}
	if string(f.top) != string(f.raw) {
		n.index = f.top
	}
	n.meta.Intermediate = fo.aside
	if fo.named != nil {
		if _, digested := fo.named.(reference.Digested); !digested && !fo.aside {
			n.names = []string{fo.named.String()}
		}
		if fo.aside {
			n.meta.PulledAs = fo.named.String()
		}
		n.meta.RepoDigests = []string{fo.named.Name() + "@" + f.topDigest.String()}
		if f.rawDigest != f.topDigest {
			n.meta.RepoDigests = append(n.meta.RepoDigests, fo.named.Name()+"@"+f.rawDigest.String())
		}
	}
	for attempt := 1; ; attempt++ {
		id, err := f.bring(n)
		if attempt == maxAttempts || !errors.Is(err, storage.ErrLayerUnknown) && !errors.Is(err, storage.ErrParentUnknown) {
			return id, err
		}
		// Another command has removed an image with a layer that was here when we
		// looked: bring that in as well.
	}
}

// maxAttempts is how often a layer may go while others come.
const maxAttempts = 5

func (f *fetched) bring(n *newImage) (id string, err error) {
	if img, err := f.o.store.Image(f.id()); err == nil {
		n.topLayer = img.TopLayer
		return f.keep(n)
	}
	if err := hit(FailpointPullManifest); err != nil {
		return "", err
	}
	if n.topLayer, err = f.fetchLayers(); err != nil {
		return "", err
	}
	if err := hit(FailpointPullLayers); err != nil {
		return "", err
	}
	return f.keep(n)
}

// keep adds the image whose layers are in the store, decrypted if need be.
func (f *fetched) keep(n *newImage) (id string, err error) {
	if f.anyEncrypted() {
		n.index = nil // it names the encrypted one
		if n.manifest, err = f.plainManifest(); err != nil {
			return "", err
		}
	}
	return f.o.add(n)
}

// pullAll pulls every tag of a repository.
func (s *Store) pullAll(ctx context.Context, sys *types.SystemContext, named reference.Named, given string, o PullOptions) (*Image, error) {
	raw, err := reference.Parse(given)
	if err == nil {
		if n, ok := raw.(reference.Named); ok && !reference.IsNameOnly(n) {
			return nil, errs.New(errs.Invalid, "tag can't be used with --all-tags/-a")
		}
	}
	ref, err := registry.Source(sys, named)
	if err != nil {
		return nil, err
	}
	tags, err := registry.Tags(ctx, sys, ref)
	if err != nil {
		return nil, registry.Explain(err, named)
	}
	var img *Image
	for _, t := range tags {
		tagged, err := reference.WithTag(reference.TrimNamed(named), t)
		if err != nil {
			return nil, imagename.Bad(t, err)
		}
		if img, err = s.pullNamed(ctx, sys, tagged, o); err != nil {
			return nil, err
		}
	}
	if img == nil {
		return nil, errs.New(errs.NotFound, "repository %s has no tags", reference.FamiliarName(named))
	}
	return img, nil
}
