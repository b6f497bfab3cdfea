// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"

	"github.com/proa-containers/proa/pkg/errs"
)

// Layer is one read-only layer of the store together with all that lies below
// it. The zero Layer is the empty root directory.
type Layer struct {
	ID     string        // of the store
	DiffID digest.Digest // of its uncompressed archive
	Size   int64         // bytes of its uncompressed archive
}

// CreateOptions describe an image that is made here.
type CreateOptions struct {
	// Config is complete but for RootFS, which follows from Top.
	Config       dockerspec.DockerOCIImage
	Comment      string
	Top          Layer
	Names        []string // complete
	Annotations  map[string]string
	Parent       string // id of the local image that it comes from
	Intermediate bool   // only the build cache knows it: not listed
	Docker       bool   // Docker's manifest instead of the OCI one; it has no annotations
}

// create stores an image whose layers are in the store, and returns its id.
func (o *op) create(_ context.Context, c CreateOptions) (string, error) {
	chain, err := o.chain(c.Top.ID)
	if err != nil {
		return "", err
	}
	n, err := c.describe(chain)
	if err != nil {
		return "", err
	}
	return o.add(n)
}

// describe makes the image's documents; chain is its layers, the lowest first.
func (c CreateOptions) describe(chain []Layer) (*newImage, error) {
	c.Config.RootFS = imgspec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}
	m := imgspec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imgspec.MediaTypeImageManifest,
		Layers: []imgspec.Descriptor{}, Annotations: c.Annotations,
	}
	layerType, configType := imgspec.MediaTypeImageLayer, imgspec.MediaTypeImageConfig
	if c.Docker {
		m.MediaType, m.Annotations = manifest.DockerV2Schema2MediaType, nil
		layerType, configType = manifest.DockerV2SchemaLayerMediaTypeUncompressed, manifest.DockerV2Schema2ConfigMediaType
	}
	for _, l := range chain {
		c.Config.RootFS.DiffIDs = append(c.Config.RootFS.DiffIDs, l.DiffID)
		m.Layers = append(m.Layers, imgspec.Descriptor{MediaType: layerType, Digest: l.DiffID, Size: l.Size})
	}
	conf, err := configJSON(&c)
	if err != nil {
		return nil, err
	}
	m.Config = imgspec.Descriptor{MediaType: configType, Digest: digest.FromBytes(conf), Size: int64(len(conf))}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	n := &newImage{config: conf, manifest: raw, topLayer: c.Top.ID, names: c.Names}
	n.meta.Parent, n.meta.Intermediate = c.Parent, c.Intermediate
	if c.Config.Created != nil {
		n.created = *c.Config.Created
	}
	return n, nil
}

// unchanged says whether the image is in the store already, with all of its
// names: a build that found every step in its cache then writes nothing.
func (s *Store) unchanged(c CreateOptions) (id string, ok bool) {
	conf, err := configJSON(&c)
	if err != nil {
		return "", false
	}
	id = digest.FromBytes(conf).Encoded()
	img, err := s.Resolve(id)
	if err != nil || img.ID != id || s.TopLayer(img).ID != c.Top.ID {
		return "", false
	}
	n, err := c.describe(chainOf(img))
	if err != nil {
		return "", false
	}
	if raw, err := s.RawManifest(img); err != nil || !bytes.Equal(raw, n.manifest) {
		return "", false
	}
	for _, name := range c.Names {
		if !slices.Contains(img.Names, name) {
			return "", false
		}
	}
	return id, true
}

// chainOf lists the image's layers, the lowest first.
func chainOf(i *Image) []Layer {
	out := make([]Layer, 0, len(i.DiffIDs))
	for n, d := range i.DiffIDs {
		out = append(out, Layer{ID: i.Layers[len(i.Layers)-1-n], DiffID: digest.Digest(d), Size: i.LayerSizes[n]})
	}
	return out
}

// configJSON renders the configuration; Docker keeps a comment beside the
// fields that its Go type has.
func configJSON(c *CreateOptions) ([]byte, error) {
	return json.Marshal(struct {
		dockerspec.DockerOCIImage
		Comment string `json:"comment,omitempty"`
	}{c.Config, c.Comment})
}

// chain lists a layer and those below it, the lowest first.
func (o *op) chain(id string) ([]Layer, error) {
	var out []Layer
	for id != "" {
		l, err := o.store.Layer(id)
		if err != nil {
			return nil, errs.Wrap(err, "find layer", id)
		}
		if l.UncompressedDigest == "" {
			return nil, errs.New(errs.Corrupt, "layer %s has no digest", id)
		}
		out = append([]Layer{{ID: l.ID, DiffID: l.UncompressedDigest, Size: l.UncompressedSize}}, out...)
		id = l.Parent
	}
	return out, nil
}

// addLayer makes a layer of an archive, compressed or not, on top of parent.
func (o *op) addLayer(r io.Reader, parent Layer, kind string) (Layer, error) {
	g, err := o.s.stage(o.store, r, "")
	if err != nil {
		return Layer{}, err
	}
	l := Layer{DiffID: g.diffID, Size: g.size}
	if l.ID, _, err = o.s.commit(o.store, g, parent.ID, kind); err != nil {
		return Layer{}, err
	}
	return l, nil
}

func historyOf(at time.Time, by, comment string, empty bool) imgspec.History {
	return imgspec.History{Created: &at, CreatedBy: by, Comment: comment, EmptyLayer: empty}
}
