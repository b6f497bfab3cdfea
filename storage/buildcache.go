// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/manifest"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/pkg/blobinfocache/none"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
	"go.podman.io/storage"
	"go.podman.io/storage/pkg/archive"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/blob"
	"github.com/proa-containers/proa/storage/guard"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/ocidir"
	"github.com/proa-containers/proa/storage/registry"
)

// A build cache outside of the store is an OCI artifact: a configuration with
// what is known of the steps, and their layers as blobs. Reading it brings in
// the configuration only; a layer comes when it is needed.

// CacheRef says where such an artifact lies: at a registry, or in an OCI
// directory.
type CacheRef struct {
	Name     string // repository[:tag]
	Dir, Tag string // or an absolute directory, and the name in it
	Remote   registry.RemoteOptions
}

// CacheBlob is a layer as it was transferred.
type CacheBlob struct {
	MediaType string
	Digest    digest.Digest
	Size      int64
}

// CacheItem is an artifact, or an image, that was opened. Its methods may be
// called from several goroutines.
type CacheItem struct {
	ConfigType  string
	Config      []byte // verified
	Annotations map[string]string
	Blobs       []CacheBlob

	s      *Store
	src    types.ImageSource
	remote registry.RemoteOptions
	last   bool // closes the source
}

// Close ends the reading.
func (c *CacheItem) Close() error {
	if !c.last {
		return nil
	}
	return c.src.Close()
}

// OpenCache reads an artifact, or the images of a list. Kind NotFound: there is
// none.
func (s *Store) OpenCache(ctx context.Context, r CacheRef) ([]*CacheItem, error) {
	ref, named, err := r.parse()
	if err != nil {
		return nil, err
	}
	if r.Dir != "" {
		if _, err := os.Stat(filepath.Join(r.Dir, imgspec.ImageIndexFile)); err != nil {
			return nil, errs.New(errs.NotFound, "%s is no OCI directory", r.Dir)
		}
	}
	sys, err := s.system(r.Remote, "")
	if err != nil {
		return nil, err
	}
	if named != nil {
		if ref, err = registry.Source(sys, named); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(s.tmpDir(), 0o700); err != nil {
		return nil, err
	}
	var items []*CacheItem
	open := func() (err error) {
		items, err = s.openCache(ctx, ref, sys, r)
		return err
	}
	if named == nil {
		err = ocidir.Reading(ctx, r.Dir, open)
		return items, err
	}
	err = r.Remote.Retrying(ctx, open)
	if err != nil {
		return nil, registry.Explain(err, named)
	}
	return items, err
}

// parse returns one or the other: what a directory means, or the name at a
// registry.
func (r CacheRef) parse() (types.ImageReference, reference.Named, error) {
	if r.Dir != "" {
		ref, err := ocilayout.NewReference(r.Dir, r.Tag)
		return ref, nil, err
	}
	named, err := imagename.Parse(r.Name)
	return nil, named, err
}

// check refuses what the library would read from a directory whatever its size: the
// index, and the manifest with the digest d, or that of ref.
func (r CacheRef) check(ref types.ImageReference, d digest.Digest) error {
	if r.Dir == "" {
		return nil
	}
	if err := ocidir.CheckIndex(r.Dir); err != nil {
		return err
	}
	if d == "" {
		found, err := ocilayout.LoadManifestDescriptor(ref)
		if err != nil {
			return err
		}
		d = found.Digest
	}
	return ocidir.CheckManifest(r.Dir, d)
}

func (s *Store) openCache(ctx context.Context, ref types.ImageReference, sys *types.SystemContext, r CacheRef) (items []*CacheItem, err error) {
	if err := r.check(ref, ""); err != nil {
		return nil, err
	}
	policy, err := guard.Policy(sys)
	if err != nil {
		return nil, err
	}
	defer func() { _ = policy.Destroy() }()
	var src types.ImageSource
	err = registry.Within(ctx, func(ctx context.Context) error {
		src, err = ref.NewImageSource(ctx, sys)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			src.Close()
		}
	}()
	raw, mime, err := image.UnparsedInstance(src, nil).Manifest(ctx)
	if err != nil {
		return nil, err
	}
	instances := []*digest.Digest{nil}
	if manifest.MIMETypeIsMultiImage(mime) {
		list, err := manifest.ListFromBlob(raw, mime)
		if err != nil {
			return nil, errs.New(errs.Corrupt, "cannot read the index: %w", err)
		}
		instances = nil
		for _, d := range list.Instances() {
			instances = append(instances, &d)
		}
	}
	for _, d := range instances {
		if d != nil {
			if err = r.check(ref, *d); err != nil {
				return nil, err
			}
		}
		item := &CacheItem{s: s, src: src, remote: r.Remote}
		if err = registry.Within(ctx, func(ctx context.Context) error { return item.read(ctx, policy, d) }); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if len(items) == 0 {
		return nil, errs.New(errs.Corrupt, "the index is empty")
	}
	items[0].last = true
	return items, nil
}

// read fills the item from a manifest of its source.
func (c *CacheItem) read(ctx context.Context, policy *signature.PolicyContext, d *digest.Digest) error {
	unparsed := image.UnparsedInstance(c.src, d)
	raw, _, err := unparsed.Manifest(ctx)
	if err != nil {
		return err
	}
	if ok, err := policy.IsRunningImageAllowed(ctx, unparsed); !ok {
		return errs.New(errs.Denied, "the signature policy does not allow it: %w", err)
	}
	if _, err := blob.ManifestDigest(raw); err != nil {
		return err
	}
	var m imgspec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return errs.New(errs.Corrupt, "cannot read the manifest: %w", err)
	}
	if len(m.Layers) > maxCacheLayers || m.Config.Size > maxConfig {
		return errs.New(errs.Invalid, "it has %d layers and a configuration of %d bytes, which is more than is accepted", len(m.Layers), m.Config.Size)
	}
	for _, l := range m.Layers {
		c.Blobs = append(c.Blobs, CacheBlob{l.MediaType, l.Digest, l.Size})
	}
	c.ConfigType, c.Annotations = m.Config.MediaType, m.Annotations
	rc, _, err := c.src.GetBlob(ctx, types.BlobInfo{Digest: m.Config.Digest, Size: m.Config.Size}, none.NoCache)
	if err != nil {
		return err
	}
	defer rc.Close()
	v, err := blob.NewVerifier(ctx, rc, m.Config.Digest, m.Config.Size, nil)
	if err != nil {
		return err
	}
	c.Config, err = io.ReadAll(v)
	return err
}

// maxCacheLayers bounds the steps of a cache: a large build has hundreds.
const maxCacheLayers = 10000

// Layer brings a blob in as a layer on top of parent. What it unpacks to must
// be diffID.
func (c *CacheItem) Layer(ctx context.Context, b CacheBlob, diffID digest.Digest, parent Layer) (l Layer, err error) {
	o, err := c.s.begin(false)
	if err != nil {
		return Layer{}, err
	}
	defer o.end(&err)
	g := o.stageSame(diffID, b.Digest)
	if g == nil {
		err := c.remote.Retrying(ctx, func() (err error) {
			g, err = c.stage(ctx, o, b)
			return err
		})
		if err != nil {
			return Layer{}, errs.Wrap(err, "fetch layer", b.Digest.String())
		}
	}
	if g.diffID != diffID {
		got := g.diffID
		g.drop(o.store)
		return Layer{}, errs.New(errs.Corrupt, "layer %s unpacks to %s; the cache says %s", b.Digest, got, diffID)
	}
	l = Layer{DiffID: g.diffID, Size: g.size}
	l.ID, _, err = c.s.commit(o.store, g, parent.ID, index.LayerBuild)
	return l, err
}

func (c *CacheItem) stage(ctx context.Context, o *op, b CacheBlob) (*staged, error) {
	v, done, err := c.open(ctx, b)
	if err != nil {
		return nil, err
	}
	defer done()
	return c.s.stage(o.store, v, b.Digest)
}

// open reads a blob and verifies it.
func (c *CacheItem) open(ctx context.Context, b CacheBlob) (io.Reader, func(), error) {
	rc, _, err := registry.OpenBlob(ctx, c.src, c.remote, types.BlobInfo{Digest: b.Digest, Size: b.Size})
	if err != nil {
		return nil, nil, err
	}
	v, err := blob.NewVerifier(ctx, rc, b.Digest, b.Size, nil)
	if err != nil {
		rc.Close()
		return nil, nil, err
	}
	return v, func() { rc.Close() }, nil
}

// CacheLayer is a layer for an artifact: of the store, or of another item.
type CacheLayer struct {
	Layer Layer
	From  *CacheItem // nil: the store
	Blob  CacheBlob  // in From; or what the artifact that is replaced had for it
}

// WriteCache makes an artifact, and replaces what had the reference. config is
// asked for once all layers are there, with the blob of each.
func (s *Store) WriteCache(ctx context.Context, r CacheRef, configType string, layers []CacheLayer, config func([]CacheBlob) ([]byte, error)) (err error) {
	ref, named, err := r.parse()
	if err != nil {
		return err
	}
	sys, err := s.system(r.Remote, "")
	if err != nil {
		return err
	}
	o, err := s.begin(false)
	if err != nil {
		return err
	}
	defer o.end(&err)
	if named != nil {
		p, err := registry.Target(sys, named)
		if err != nil {
			return err
		}
		if ref, err = docker.NewReference(p.Of(named)); err != nil {
			return err
		}
	} else {
		unlock, err := ocidir.Lock(r.Dir)
		if err != nil {
			return err
		}
		defer unlock()
	}
	err = r.Remote.Retrying(ctx, func() error {
		return registry.Patiently(ctx, func(ctx context.Context) error { return o.writeCache(ctx, ref, sys, configType, layers, config) })
	})
	if err != nil && named != nil {
		return registry.PushError(err, named)
	}
	if err != nil || named != nil {
		return err
	}
	return ocidir.Tidy(r.Dir, configType)
}

func (o *op) writeCache(ctx context.Context, ref types.ImageReference, sys *types.SystemContext, configType string, layers []CacheLayer, config func([]CacheBlob) ([]byte, error)) error {
	dest, err := ref.NewImageDestination(ctx, sys)
	if err != nil {
		return err
	}
	defer dest.Close()
	m := imgspec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imgspec.MediaTypeImageManifest, Layers: []imgspec.Descriptor{}}
	blobs := make([]CacheBlob, len(layers))
	for i, l := range layers {
		if blobs[i], err = o.putCacheLayer(ctx, dest, l); err != nil {
			return err
		}
		m.Layers = append(m.Layers, imgspec.Descriptor{MediaType: blobs[i].MediaType, Digest: blobs[i].Digest, Size: blobs[i].Size})
		if err := hit(FailpointCacheBlob); err != nil {
			return err
		}
	}
	conf, err := config(blobs)
	if err != nil {
		return err
	}
	m.Config = imgspec.Descriptor{MediaType: configType, Digest: digest.FromBytes(conf), Size: int64(len(conf))}
	if _, err := dest.PutBlob(ctx, bytes.NewReader(conf), types.BlobInfo{Digest: m.Config.Digest, Size: m.Config.Size}, none.NoCache, true); err != nil {
		return err
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := dest.PutManifest(ctx, raw, nil); err != nil {
		return err
	}
	return dest.Commit(ctx, nil) // the image that it would ask for is for stores with names of their own
}

// putCacheLayer sends one layer, unless it is there already.
func (o *op) putCacheLayer(ctx context.Context, dest types.ImageDestination, l CacheLayer) (CacheBlob, error) {
	if l.Blob.Digest != "" {
		there, _, err := dest.TryReusingBlob(ctx, types.BlobInfo{Digest: l.Blob.Digest, Size: l.Blob.Size}, none.NoCache, false)
		if err == nil && there {
			return l.Blob, nil
		}
	}
	if l.From != nil {
		r, done, err := l.From.open(ctx, l.Blob)
		if err != nil {
			return CacheBlob{}, err
		}
		defer done()
		_, err = dest.PutBlob(ctx, r, types.BlobInfo{Digest: l.Blob.Digest, Size: l.Blob.Size}, none.NoCache, false)
		return l.Blob, err
	}
	compression := archive.Gzip
	rc, err := o.store.Diff("", l.Layer.ID, &storage.DiffOptions{Compression: &compression})
	if err != nil {
		return CacheBlob{}, errs.Wrap(err, "read layer", l.Layer.ID)
	}
	defer rc.Close()
	info, err := dest.PutBlob(ctx, rc, types.BlobInfo{Size: -1}, none.NoCache, false)
	return CacheBlob{imgspec.MediaTypeImageLayerGzip, info.Digest, info.Size}, err
}
