// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/storage"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/index"
)

// newImage is everything that the store's record of an image is made of.
type newImage struct {
	config   []byte
	manifest []byte
	index    []byte // the manifest list that the image was chosen from, or nil
	topLayer string
	names    []string // complete
	meta     index.Metadata
	created  time.Time
}

// add makes the image visible: with its record complete, and under its names at
// once. An image that exists gets the names.
func (o *op) add(n *newImage) (id string, err error) {
	id = digest.FromBytes(n.config).Encoded()
	data, err := n.bigData()
	if err != nil {
		return "", err
	}
	md, err := json.Marshal(n.meta)
	if err != nil {
		return "", err
	}
	flags := map[string]any{}
	if len(n.names) > 0 {
		flags[index.FlagPending] = true
	}
	_, err = o.store.CreateImage(id, nil, n.topLayer, string(md), &storage.ImageOptions{
		CreationDate: n.created, BigData: data, Flags: flags,
	})
	if errors.Is(err, storage.ErrDuplicateID) {
		err = o.extend(id, n, data)
	}
	if err != nil {
		return "", errs.Wrap(err, "store image", id[:12])
	}
	if err := hit(FailpointImageStored); err != nil {
		return "", err
	}
	if len(n.names) > 0 {
		if err := o.store.AddNames(id, n.names); err != nil {
			return "", errs.Wrap(err, "name image", id[:12])
		}
	}
	return id, hit(FailpointImageNamed)
}

// bigData lists the data items as containers/image's storage transport expects
// them. The item "manifest" comes last: it marks the image as complete.
func (n *newImage) bigData() ([]storage.ImageBigDataOption, error) {
	conf := digest.FromBytes(n.config)
	data := []storage.ImageBigDataOption{{Key: conf.String(), Data: n.config, Digest: conf}}
	add := func(raw []byte, key string) error {
		d, err := manifest.Digest(raw)
		if err != nil {
			return err
		}
		if key == "" {
			key = storage.ImageDigestManifestBigDataNamePrefix + "-" + d.String()
		}
		data = append(data, storage.ImageBigDataOption{Key: key, Data: raw, Digest: d})
		return nil
	}
	if n.index != nil {
		if err := add(n.index, ""); err != nil {
			return nil, err
		}
	}
	if err := add(n.manifest, ""); err != nil {
		return nil, err
	}
	return data, add(n.manifest, storage.ImageDigestBigDataKey)
}

// extend adds to an existing image what n knows more.
func (o *op) extend(id string, n *newImage, data []storage.ImageBigDataOption) error {
	img, err := o.store.Image(id)
	if err != nil {
		return err
	}
	if img.TopLayer != n.topLayer {
		return errs.New(errs.Exists, "an image with the same configuration and other layers is in the store")
	}
	for _, d := range data {
		if img.BigDataDigests[d.Key] == d.Digest {
			continue
		}
		if err := o.store.SetImageBigData(id, d.Key, d.Data, manifest.Digest); err != nil {
			return err
		}
	}
	var md index.Metadata
	_ = json.Unmarshal([]byte(img.Metadata), &md)
	changed := md.PulledAs == "" && n.meta.PulledAs != ""
	if changed {
		md.PulledAs = n.meta.PulledAs
	}
	for _, r := range n.meta.RepoDigests {
		if !slices.Contains(md.RepoDigests, r) {
			md.RepoDigests = append(md.RepoDigests, r)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	text, err := json.Marshal(md)
	if err != nil {
		return err
	}
	return o.store.SetMetadata(id, string(text))
}
