// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/storage"
	"go.podman.io/storage/pkg/stringid"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec/platforms"
	"github.com/proa-containers/proa/storage/document"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/manifestlist"
	"github.com/proa-containers/proa/storage/registry"
	"github.com/proa-containers/proa/storage/shortname"
)

// ListOptions describe a manifest list that is made of images of the store.
type ListOptions struct {
	Images      []string // ids, one per platform
	Names       []string // complete
	Add         string   // complete: the list with this name gets the images, and is made if there is none
	Annotations map[string]string
	Entries     []map[string]string // annotations of the entry of each image; nil: none
}

// entry is that of the nth image.
func (l *ListOptions) entry(s *Store, n int, img *Image) (imgspec.Descriptor, error) {
	d, err := s.localEntry(img)
	if err == nil && n < len(l.Entries) {
		(&manifestlist.Entry{Annotations: l.Entries[n]}).Apply(&d)
	}
	return d, err
}

// CreateList makes a manifest list and returns its id and the digest of the
// index. The same images give the same id. An image or list that had one of
// the names loses it.
func (s *Store) CreateList(ctx context.Context, l ListOptions) (id string, d digest.Digest, err error) {
	if l.Add != "" {
		return s.extendList(ctx, l)
	}
	op, err := s.begin(false)
	if err != nil {
		return "", "", err
	}
	defer op.end(&err)
	ix := manifestlist.New(l.Annotations)
	var created time.Time
	for i, ref := range l.Images {
		img, err := s.Resolve(ref)
		if err != nil {
			return "", "", err
		}
		e, err := l.entry(s, i, img)
		if err != nil {
			return "", "", err
		}
		if img.Created.After(created) {
			created = img.Created
		}
		ix.Manifests = append(ix.Manifests, e)
	}
	raw, err := json.Marshal(ix)
	if err != nil {
		return "", "", err
	}
	if d, err = cleanDigest(raw); err != nil {
		return "", "", err
	}
	id, err = op.putList(d.Encoded(), raw, l.Names, created)
	return id, d, errs.Wrap(err, "create manifest list", strings.Join(l.Names, " "))
}

// putList stores an index under id, or under another one where a list with
// this id was changed since. Its names come in a second step, which takes them
// from whoever had them.
func (o *op) putList(id string, raw []byte, names []string, created time.Time) (string, error) {
	if old, err := o.store.ImageBigData(id, storage.ImageDigestBigDataKey); err == nil {
		if string(old) == string(raw) {
			return id, o.nameList(id, names)
		}
		id = stringid.GenerateRandomID()
	}
	flags := map[string]any{}
	if len(names) > 0 {
		flags[index.FlagPending] = true
	}
	_, err := o.store.CreateImage(id, nil, "", "", &storage.ImageOptions{
		CreationDate: created, Flags: flags,
		BigData: []storage.ImageBigDataOption{{Key: storage.ImageDigestBigDataKey, Data: raw, Digest: digest.FromBytes(raw)}},
	})
	if err != nil {
		return "", err
	}
	if err := hit(FailpointListStored); err != nil {
		return "", err
	}
	return id, o.nameList(id, names)
}

func (o *op) nameList(id string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	return o.store.AddNames(id, names)
}

func (s *Store) extendList(ctx context.Context, l ListOptions) (id string, d digest.Digest, err error) {
	if _, err := s.ManifestCreate(ctx, l.Add, ListCreation{Amend: true, Annotations: l.Annotations}); err != nil {
		return "", "", err
	}
	err = s.editList(l.Add, func(ix *imgspec.Index) error {
		for i, ref := range l.Images {
			img, err := s.Resolve(ref)
			if err != nil {
				return err
			}
			e, err := l.entry(s, i, img)
			if err != nil {
				return err
			}
			manifestlist.Replace(ix, e)
		}
		return nil
	})
	if err != nil {
		return "", "", errs.Wrap(err, "add to manifest list", l.Add)
	}
	img, err := s.Resolve(l.Add)
	if err != nil {
		return "", "", err
	}
	for _, n := range l.Names {
		if err := s.Tag(ctx, img.ID, n); err != nil {
			return "", "", err
		}
	}
	raw, err := s.RawManifest(img)
	if err != nil {
		return "", "", err
	}
	d, err = cleanDigest(raw)
	return img.ID, d, err
}

// cleanDigest is the digest of an index as others see it.
func cleanDigest(raw []byte) (digest.Digest, error) {
	clean, err := manifestlist.Clean(raw)
	return digest.FromBytes(clean), err
}

// ListDigest is the digest of a list's index as others see it.
func (s *Store) ListDigest(list *Image) (digest.Digest, []byte, error) {
	raw, err := s.RawManifest(list)
	if err != nil {
		return "", nil, err
	}
	clean, err := manifestlist.Clean(raw)
	return digest.FromBytes(clean), clean, err
}

// Instance is the image of a list for a platform, the host's without one. Where
// the list only names it at a registry, remote is its name there and the image
// nil.
func (s *Store) Instance(list *Image, platform string) (img *Image, remote string, err error) {
	_, ix, err := s.readIndex(list.ID)
	if err != nil {
		return nil, "", err
	}
	if platform == "" {
		platform = "linux/" + runtime.GOARCH
	}
	osName, arch, variant := platforms.Split(platform)
	d := manifestlist.Choose(ix, osName, arch, variant)
	if d == nil {
		return nil, "", errs.New(errs.NotFound, "no matching manifest for %s in the manifest list entries", platform)
	}
	id, remote := document.Source(d)
	if remote != "" {
		if img, err := s.Resolve(remote); err == nil {
			return img, "", nil
		}
		return nil, remote, nil
	}
	img, err = s.Resolve(id)
	return img, "", err
}

// removeInstances deletes the images that only a list had, which is gone now.
func (o *op) removeInstances(ids []string, ro RemoveOptions, out *Removal) error {
	if len(ids) == 0 {
		return nil
	}
	if err := o.s.Refresh(); err != nil {
		return err
	}
	list, err := o.s.List()
	if err != nil {
		return err
	}
	in := index.InLists(list)
	for _, id := range ids {
		img, err := o.s.Resolve(id)
		if err != nil || in[id] || len(img.Names) > 0 || hasChild(list, id) || ro.InUse != nil && ro.InUse(id) != "" {
			continue
		}
		if err := o.remove(img, ro, out); err != nil {
			return err
		}
	}
	return nil
}

// FindAside is the image of a platform that a build fetched under a name which
// another platform's image may have (PullOptions.Aside).
func (s *Store) FindAside(ref, platform string) (*Image, error) {
	candidates, err := shortname.Candidates(ref)
	if err != nil {
		return nil, err
	}
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	for _, n := range candidates {
		for i := range list {
			if list[i].PulledAs != n.String() {
				continue
			}
			if img, err := s.Image(list[i].ID); err == nil && fits(img, platform) {
				return img, nil
			}
		}
	}
	return nil, index.NoSuchImage(ref)
}

// Platforms are the platforms that a name in a Dockerfile is available for: of a list, here or
// at its registry, else that of the image.
func (s *Store) Platforms(ctx context.Context, ref string, ro registry.RemoteOptions) ([]string, error) {
	if img, err := s.ResolveWritten(ref); err == nil && img.List {
		_, ix, err := s.readIndex(img.ID)
		if err != nil {
			return nil, err
		}
		return manifestlist.Platforms(ix.Manifests), nil
	}
	names, err := shortname.Candidates(ref)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		var descs []imgspec.Descriptor
		if descs, err = s.remoteEntries(ctx, n.String(), true, ro); err == nil {
			return manifestlist.Platforms(descs), nil
		}
	}
	if img, lerr := s.ResolveWritten(ref); lerr == nil {
		return []string{manifestlist.PlatformName(platformOf(img))}, nil
	}
	return nil, err
}
