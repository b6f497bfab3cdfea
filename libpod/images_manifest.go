// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"encoding/json"
	"io"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/manifest"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/manifestlist"
	"github.com/proa-containers/proa/storage/registry"
)

// ManifestEntry says what is different about one image of a list; empty fields
// stay as the image says.
type ManifestEntry = manifestlist.Entry

// RemoteOptions are how a registry is reached.
type RemoteOptions = registry.RemoteOptions

// ManifestCreation describes a list of images from anywhere.
type ManifestCreation = storage.ListCreation

// ManifestPushOptions say where and how a list goes.
type ManifestPushOptions = storage.ManifestPushOptions

// manifestRequest is what the operations on lists need, each its part.
type manifestRequest struct {
	List, Ref   string
	All         bool
	Annotations map[string]string
	Entry       ManifestEntry
	Remote      RemoteOptions
	Create      ManifestCreation
	Push        ManifestPushOptions
}

func manifestOp(do func(context.Context, *insideCall, *manifestRequest) (any, error)) insideOp {
	return func(ctx context.Context, c *insideCall) (any, error) {
		var r manifestRequest
		if err := json.Unmarshal(c.request, &r); err != nil {
			return nil, err
		}
		return do(ctx, c, &r)
	}
}

func manifestOps(m map[string]insideOp) {
	m["manifest-create"] = manifestOp(func(ctx context.Context, c *insideCall, r *manifestRequest) (any, error) {
		return c.e.images.ManifestCreate(ctx, r.List, r.Create)
	})
	m["manifest-add"] = manifestOp(func(ctx context.Context, c *insideCall, r *manifestRequest) (any, error) {
		return c.e.images.ManifestAdd(ctx, r.List, r.Ref, r.Entry, r.All, r.Remote)
	})
	m["manifest-annotate"] = manifestOp(func(ctx context.Context, c *insideCall, r *manifestRequest) (any, error) {
		return nil, c.e.images.ManifestAnnotate(ctx, r.List, r.Ref, r.Entry)
	})
	m["manifest-remove"] = manifestOp(func(ctx context.Context, c *insideCall, r *manifestRequest) (any, error) {
		return nil, c.e.images.ManifestRemove(ctx, r.List, r.Ref)
	})
	m["manifest-inspect"] = manifestOp(func(ctx context.Context, c *insideCall, r *manifestRequest) (any, error) {
		if r.All {
			return c.e.images.ManifestVerbose(ctx, r.List, r.Remote)
		}
		return c.e.images.ManifestInspect(ctx, r.List, r.Remote)
	})
	m["manifest-annotate-index"] = manifestOp(func(ctx context.Context, c *insideCall, r *manifestRequest) (any, error) {
		return nil, c.e.images.ManifestAnnotateIndex(ctx, r.List, r.Annotations, r.Ref)
	})
	m["manifest-push"] = manifestOp(func(ctx context.Context, c *insideCall, r *manifestRequest) (any, error) {
		r.Push.Progress = c.progress
		return c.e.images.ManifestPush(ctx, r.List, r.Push)
	})
}

// ManifestCreate makes a list of images for several platforms and returns its
// id. It is seen with all its images or not at all. Kind Exists: the name is
// taken, and Amend does not allow that.
func (e *Engine) ManifestCreate(ctx context.Context, name string, c ManifestCreation) (id string, err error) {
	return id, e.inside(ctx, "manifest-create", manifestRequest{List: name, Create: c}, &id, nil, nil)
}

// ManifestAdd adds an image to a list: one of the store, or with docker:// one
// (with all, everything of a list) at a registry. It returns the digests.
func (e *Engine) ManifestAdd(ctx context.Context, list, ref string, m ManifestEntry, all bool, ro RemoteOptions) (added []string, err error) {
	return added, e.inside(ctx, "manifest-add", manifestRequest{List: list, Ref: ref, Entry: m, All: all, Remote: ro}, &added, nil, nil)
}

// ManifestAnnotate changes one entry of a list, named by its digest or by the
// image that it was made of.
func (e *Engine) ManifestAnnotate(ctx context.Context, list, entry string, m ManifestEntry) error {
	return e.inside(ctx, "manifest-annotate", manifestRequest{List: list, Ref: entry, Entry: m}, nil, nil, nil)
}

// ManifestRemove takes one entry out of a list.
func (e *Engine) ManifestRemove(ctx context.Context, list, entry string) error {
	return e.inside(ctx, "manifest-remove", manifestRequest{List: list, Ref: entry}, nil, nil, nil)
}

// ManifestAnnotateIndex changes the list itself: its annotations, and with
// subject what it belongs to.
func (e *Engine) ManifestAnnotateIndex(ctx context.Context, list string, annotations map[string]string, subject string) error {
	return e.inside(ctx, "manifest-annotate-index", manifestRequest{List: list, Ref: subject, Annotations: annotations}, nil, nil, nil)
}

// ManifestExists says whether a name is that of a list.
func (e *Engine) ManifestExists(_ context.Context, name string) (bool, error) {
	img, err := e.images.Resolve(name)
	if errs.Is(err, errs.NotFound) {
		return false, nil
	}
	return err == nil && img.List, err
}

// ManifestInspect returns a list (or a manifest) as JSON: of the store, else of
// a registry. verbose: with the manifests that a list names, as Docker does.
func (e *Engine) ManifestInspect(ctx context.Context, name string, verbose bool, ro RemoteOptions) (doc []byte, err error) {
	return doc, e.inside(ctx, "manifest-inspect", manifestRequest{List: name, All: verbose, Remote: ro}, &doc, nil, nil)
}

// Descriptor names a manifest.
type Descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// ManifestDescriptor names the manifest of an image or list of the store.
func (e *Engine) ManifestDescriptor(ctx context.Context, ref string) (Descriptor, error) {
	doc, err := e.ManifestInspect(ctx, ref, false, RemoteOptions{})
	if err != nil {
		return Descriptor{}, err
	}
	return Descriptor{manifest.GuessMIMEType(doc), digest.FromBytes(doc).String(), int64(len(doc))}, nil
}

// ManifestPush sends a list and its images to a registry, or into an OCI
// directory or archive, and returns the list's digest there.
func (e *Engine) ManifestPush(ctx context.Context, list string, o ManifestPushOptions, progress io.Writer) (digest string, err error) {
	dest := o.Destination
	if dest == "" {
		dest = list
	}
	sign, err := e.gpgSigner(ctx, o.Sign, dest)
	if err != nil {
		return "", err
	}
	p := e.progress(progress)
	var done storage.Pushed
	if err := e.inside(ctx, "manifest-push", manifestRequest{List: list, Push: o}, &done, nil, p); err != nil {
		return "", err
	}
	return done.Digest.String(), sign(&done, p)
}
