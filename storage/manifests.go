// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/storage"
	"go.podman.io/storage/pkg/stringid"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/manifestlist"
	"github.com/proa-containers/proa/storage/registry"
)

// ListCreation describes a manifest list of images from anywhere.
type ListCreation struct {
	Amend       bool     // a list with that name is fine: it gets the images
	Refs        []string // as in ManifestAdd
	All         bool     // of images that are lists, every entry
	Annotations map[string]string
	Remote      registry.RemoteOptions
}

// ManifestCreate makes a list under a name and returns its id. It is seen with
// all its images or not at all. Kind Exists: an image or list has that name, and
// Amend does not allow that.
func (s *Store) ManifestCreate(ctx context.Context, name string, c ListCreation) (id string, err error) {
	full, err := imagename.Normalize(name)
	if err != nil {
		return "", err
	}
	op, err := s.begin(false)
	if err != nil {
		return "", err
	}
	defer op.end(&err)
	old, err := s.ResolveExact(full)
	if err == nil && (!c.Amend || !old.List) {
		return "", errs.WithHint(errs.New(errs.Exists, "the name %q is already in use by %s", name, old.ID[:12]),
			"remove it first: proa manifest rm %s", name)
	}
	ix := manifestlist.New(c.Annotations)
	for _, ref := range c.Refs {
		if _, err := s.addEntries(ctx, ix, ref, manifestlist.Entry{}, c.All, c.Remote); err != nil {
			return "", errs.Wrap(err, "create manifest list", name)
		}
	}
	if old != nil {
		return old.ID, s.editIndex(op, full, func(to *imgspec.Index) error {
			manifestlist.Put(to, ix.Manifests...)
			manifestlist.Annotate(to, c.Annotations)
			return nil
		})
	}
	raw, err := json.Marshal(ix)
	if err != nil {
		return "", err
	}
	id = stringid.GenerateRandomID()
	_, err = op.store.CreateImage(id, []string{full}, "", "", &storage.ImageOptions{
		BigData: []storage.ImageBigDataOption{{Key: storage.ImageDigestBigDataKey, Data: raw, Digest: digest.FromBytes(raw)}},
	})
	return id, errs.Wrap(err, "create manifest list", name)
}

// editList changes a local list.
func (s *Store) editList(name string, edit func(ix *imgspec.Index) error) (err error) {
	op, err := s.begin(false)
	if err != nil {
		return err
	}
	defer op.end(&err)
	return s.editIndex(op, name, edit)
}

func (s *Store) editIndex(op *op, name string, edit func(ix *imgspec.Index) error) error {
	unlock, err := s.lockFile("ops/lists")
	if err != nil {
		return err
	}
	defer unlock()
	img, ix, err := s.readIndex(name)
	if err != nil {
		return err
	}
	if err := edit(ix); err != nil {
		return err
	}
	raw, err := json.Marshal(ix)
	if err != nil {
		return err
	}
	return op.store.SetImageBigData(img.ID, storage.ImageDigestBigDataKey, raw, manifest.Digest)
}

func (s *Store) readIndex(name string) (*Image, *imgspec.Index, error) {
	img, err := s.Resolve(name)
	if err != nil {
		return nil, nil, err
	}
	if !img.List {
		return nil, nil, errs.New(errs.Invalid, "%s is an image, not a manifest list", name)
	}
	raw, err := s.RawManifest(img)
	if err != nil {
		return nil, nil, err
	}
	ix, err := manifestlist.Parse(raw)
	return img, ix, errs.Wrap(err, "read the manifest list", name)
}

// ManifestAdd adds an image to a list: one of the store, else (and with
// docker:// at once) one at a registry, of which all takes everything of a list.
// Another transport brings the image into the store. It returns the digests.
func (s *Store) ManifestAdd(ctx context.Context, list, ref string, e manifestlist.Entry, all bool, ro registry.RemoteOptions) (added []string, err error) {
	if _, _, err := s.readIndex(list); err != nil {
		return nil, errs.Wrap(err, "add to manifest list", list)
	}
	var fresh imgspec.Index
	if added, err = s.addEntries(ctx, &fresh, ref, e, all, ro); err == nil {
		err = s.editList(list, func(ix *imgspec.Index) error {
			manifestlist.Put(ix, fresh.Manifests...)
			return nil
		})
	}
	return added, errs.Wrap(err, "add to manifest list", list)
}

// addEntries asks registries, so it is no part of a change under the lock.
func (s *Store) addEntries(ctx context.Context, ix *imgspec.Index, ref string, e manifestlist.Entry, all bool, ro registry.RemoteOptions) (added []string, err error) {
	descs, err := s.entriesFor(ctx, ref, all, ro)
	if err != nil {
		return nil, err
	}
	for _, d := range descs {
		e.Apply(&d)
		manifestlist.Put(ix, d)
		added = append(added, d.Digest.String())
	}
	return added, nil
}

// ManifestAnnotate changes one entry of a list, named by its digest or by the
// image that it was made of.
func (s *Store) ManifestAnnotate(_ context.Context, list, entry string, e manifestlist.Entry) error {
	return s.editEntry("annotate", list, entry, func(ix *imgspec.Index, i int) { e.Apply(&ix.Manifests[i]) })
}

// ManifestRemove takes one entry out of a list.
func (s *Store) ManifestRemove(_ context.Context, list, entry string) error {
	return s.editEntry("remove from", list, entry, func(ix *imgspec.Index, i int) { ix.Manifests = slices.Delete(ix.Manifests, i, i+1) })
}

func (s *Store) editEntry(verb, list, entry string, edit func(ix *imgspec.Index, i int)) error {
	err := s.editList(list, func(ix *imgspec.Index) error {
		i := s.findEntry(ix, entry)
		if i < 0 {
			return errs.WithHint(errs.New(errs.NotFound, "it has no entry %q", entry), "proa manifest inspect %s", list)
		}
		edit(ix, i)
		return nil
	})
	return errs.Wrap(err, verb+" manifest list", list)
}

// ManifestAnnotateIndex changes the list itself: its annotations, and with
// subject (as in ManifestAdd) what it belongs to.
func (s *Store) ManifestAnnotateIndex(ctx context.Context, list string, annotations map[string]string, subject string) error {
	var of *imgspec.Descriptor
	if subject != "" {
		descs, err := s.entriesFor(ctx, subject, true, registry.RemoteOptions{})
		if err != nil {
			return errs.Wrap(err, "annotate manifest list", list)
		}
		if len(descs) != 1 {
			return errs.New(errs.Unsupported, "the subject %s is a list; only an image can be one", subject)
		}
		of = &imgspec.Descriptor{MediaType: descs[0].MediaType, Digest: descs[0].Digest, Size: descs[0].Size}
	}
	err := s.editList(list, func(ix *imgspec.Index) error {
		manifestlist.Annotate(ix, annotations)
		if of != nil {
			ix.Subject = of
		}
		return nil
	})
	return errs.Wrap(err, "annotate manifest list", list)
}

func (s *Store) findEntry(ix *imgspec.Index, entry string) int {
	id, full := "", ""
	if img, err := s.Resolve(entry); err == nil {
		id = img.ID
	}
	if n, err := imagename.Normalize(strings.TrimPrefix(entry, "docker://")); err == nil {
		full = n
	}
	return manifestlist.Find(ix, entry, id, full)
}

// ManifestInspect returns a list (or a manifest) as JSON: of the store, else of
// a registry.
func (s *Store) ManifestInspect(ctx context.Context, name string, ro registry.RemoteOptions) ([]byte, error) {
	remote, isRemote := strings.CutPrefix(name, "docker://")
	if !isRemote {
		_, ix, err := s.readIndex(name)
		if err == nil {
			manifestlist.HideSources(ix)
			return json.Marshal(ix)
		}
		if errs.Is(err, errs.Invalid) {
			if img, rerr := s.Resolve(name); rerr == nil {
				return s.RawManifest(img)
			}
		}
		if !errs.Is(err, errs.NotFound) {
			return nil, err
		}
	}
	_, raw, _, src, err := s.openRemote(ctx, remote, ro)
	if err != nil {
		return nil, err
	}
	src.Close()
	return raw, nil
}
