// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
	"go.podman.io/storage"
	"go.podman.io/storage/pkg/stringid"

	"github.com/proa-containers/proa/pkg/errs"
)

// A manifest list is kept as an image without layers whose manifest is an OCI
// index. Where each entry comes from stands in an annotation of the entry that
// never leaves the store: an image's id, or docker://NAME@DIGEST.
const sourceAnnotation = "proa.source"

// Entry says what is different about one image of a list; empty fields stay as
// the image says.
type Entry struct {
	OS, Arch, Variant, OSVersion string
	Features, OSFeatures         []string
	Annotations                  map[string]string
}

// ManifestCreate makes an empty list under a name and returns its id. Kind
// Exists: an image or list has that name, and amend does not allow that.
func (s *Store) ManifestCreate(_ context.Context, name string, amend bool, annotations map[string]string) (id string, err error) {
	full, err := Normalize(name)
	if err != nil {
		return "", err
	}
	op, err := s.begin(false)
	if err != nil {
		return "", err
	}
	defer op.end(&err)
	if old, err := s.Resolve(full); err == nil {
		if !amend || !old.List {
			return "", errs.WithHint(errs.New(errs.Exists, "the name %q is already in use by %s", name, old.ID[:12]),
				"remove it first: proa manifest rm %s", name)
		}
		return old.ID, nil
	}
	raw, err := json.Marshal(imgspec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imgspec.MediaTypeImageIndex,
		Manifests: []imgspec.Descriptor{}, Annotations: annotations,
	})
	if err != nil {
		return "", err
	}
	d := digest.FromBytes(raw)
	id = stringid.GenerateRandomID()
	_, err = op.store.CreateImage(id, []string{full}, "", "", &storage.ImageOptions{
		BigData: []storage.ImageBigDataOption{{Key: storage.ImageDigestBigDataKey, Data: raw, Digest: d}},
	})
	return id, errs.Wrap(err, "create manifest list", name)
}

// editList changes a local list.
func (s *Store) editList(name string, edit func(op *op, ix *imgspec.Index) error) (err error) {
	op, err := s.begin(false)
	if err != nil {
		return err
	}
	defer op.end(&err)
	unlock, err := s.lockFile("ops/lists")
	if err != nil {
		return err
	}
	defer unlock()
	img, ix, err := s.readIndex(name)
	if err != nil {
		return err
	}
	if err := edit(op, ix); err != nil {
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
	var ix imgspec.Index
	if err := json.Unmarshal(raw, &ix); err != nil {
		return nil, nil, errs.New(errs.Corrupt, "cannot read the manifest list %s: %w", name, err)
	}
	return img, &ix, nil
}

// ManifestAdd adds an image to a list: one of the store, or with docker:// one
// (with all, everything of a list) at a registry. It returns the digests.
func (s *Store) ManifestAdd(ctx context.Context, list, ref string, e Entry, all bool, ro RemoteOptions) (added []string, err error) {
	err = s.editList(list, func(_ *op, ix *imgspec.Index) error {
		descs, err := s.entriesFor(ctx, ref, all, ro)
		if err != nil {
			return err
		}
		for _, d := range descs {
			e.apply(&d)
			ix.Manifests = slices.DeleteFunc(ix.Manifests, func(o imgspec.Descriptor) bool { return o.Digest == d.Digest })
			ix.Manifests = append(ix.Manifests, d)
			added = append(added, d.Digest.String())
		}
		return nil
	})
	return added, errs.Wrap(err, "add to manifest list", list)
}

func (e *Entry) apply(d *imgspec.Descriptor) {
	if d.Platform == nil {
		d.Platform = &imgspec.Platform{}
	}
	set := func(to *string, v string) {
		if v != "" {
			*to = v
		}
	}
	set(&d.Platform.OS, e.OS)
	set(&d.Platform.Architecture, e.Arch)
	set(&d.Platform.Variant, e.Variant)
	set(&d.Platform.OSVersion, e.OSVersion)
	if len(e.OSFeatures) > 0 {
		d.Platform.OSFeatures = e.OSFeatures
	}
	if len(e.Annotations) > 0 && d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	maps.Copy(d.Annotations, e.Annotations)
}

func (s *Store) entriesFor(ctx context.Context, ref string, all bool, ro RemoteOptions) ([]imgspec.Descriptor, error) {
	remote, isRemote := strings.CutPrefix(ref, "docker://")
	if !isRemote {
		img, err := s.Resolve(strings.TrimPrefix(ref, "containers-storage:"))
		if err == nil && img.List {
			_, ix, err := s.readIndex(img.ID)
			return ix.Manifests, err
		}
		if err == nil {
			d, err := s.localEntry(img)
			return []imgspec.Descriptor{d}, err
		}
		if !errs.Is(err, errs.NotFound) {
			return nil, err
		}
		remote = ref
	}
	return s.remoteEntries(ctx, remote, all, ro)
}

func (s *Store) localEntry(img *Image) (imgspec.Descriptor, error) {
	raw, err := s.RawManifest(img)
	if err != nil {
		return imgspec.Descriptor{}, err
	}
	return imgspec.Descriptor{
		MediaType: manifest.GuessMIMEType(raw), Digest: digest.FromBytes(raw), Size: int64(len(raw)),
		Platform:    &imgspec.Platform{OS: img.OS, Architecture: img.Architecture, Variant: img.Variant},
		Annotations: map[string]string{sourceAnnotation: img.ID},
	}, nil
}

func (s *Store) remoteEntries(ctx context.Context, name string, all bool, ro RemoteOptions) ([]imgspec.Descriptor, error) {
	named, err := parseName(name)
	if err != nil {
		return nil, err
	}
	sys, err := s.system(ro.pull())
	if err != nil {
		return nil, err
	}
	raw, mime, src, err := openRemote(ctx, sys, named)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	from := func(d digest.Digest) map[string]string {
		return map[string]string{sourceAnnotation: "docker://" + named.Name() + "@" + d.String()}
	}
	if manifest.MIMETypeIsMultiImage(mime) {
		return listEntries(sys, raw, mime, all, from)
	}
	img, err := image.FromSource(ctx, sys, src)
	if err != nil {
		return nil, registryError(err, named)
	}
	info, err := img.OCIConfig(ctx)
	if err != nil {
		return nil, registryError(err, named)
	}
	d := digest.FromBytes(raw)
	return []imgspec.Descriptor{{
		MediaType: mime, Digest: d, Size: int64(len(raw)), Annotations: from(d),
		Platform: &imgspec.Platform{OS: info.OS, Architecture: info.Architecture, Variant: info.Variant},
	}}, nil
}

// listEntries takes the images of a registry's list: all, or this platform's.
func listEntries(sys *types.SystemContext, raw []byte, mime string, all bool, from func(digest.Digest) map[string]string) ([]imgspec.Descriptor, error) {
	list, err := manifest.ListFromBlob(raw, mime)
	if err != nil {
		return nil, errs.New(errs.Corrupt, "cannot read the index: %w", err)
	}
	chosen := list.Instances()
	if !all {
		d, err := list.ChooseInstance(sys)
		if err != nil {
			return nil, noPlatform(sys)
		}
		chosen = []digest.Digest{d}
	}
	var out []imgspec.Descriptor
	for _, d := range chosen {
		u, err := list.Instance(d)
		if err != nil {
			return nil, err
		}
		out = append(out, imgspec.Descriptor{
			MediaType: u.MediaType, Digest: d, Size: u.Size, Annotations: from(d), Platform: u.ReadOnly.Platform,
		})
	}
	return out, nil
}

// openRemote reads a manifest at a registry. The caller closes the source.
func openRemote(ctx context.Context, sys *types.SystemContext, named reference.Named) (raw []byte, mime string, src types.ImageSource, err error) {
	ref, err := docker.NewReference(named)
	if err != nil {
		return nil, "", nil, badName(named.String(), err)
	}
	err = RemoteOptions{}.retry(ctx, func() error {
		return within(ctx, func(ctx context.Context) error {
			if src, err = ref.NewImageSource(ctx, sys); err != nil {
				return err
			}
			if raw, mime, err = image.UnparsedInstance(src, nil).Manifest(ctx); err != nil {
				src.Close()
			}
			return err
		})
	})
	if err != nil {
		return nil, "", nil, registryError(err, named)
	}
	return raw, mime, src, nil
}

// ManifestAnnotate changes one entry of a list, named by its digest or by the
// image that it was made of.
func (s *Store) ManifestAnnotate(_ context.Context, list, entry string, e Entry) error {
	err := s.editList(list, func(_ *op, ix *imgspec.Index) error {
		i := s.findEntry(ix, entry)
		if i < 0 {
			return errs.New(errs.NotFound, "it has no entry %q", entry)
		}
		e.apply(&ix.Manifests[i])
		return nil
	})
	return errs.Wrap(err, "annotate manifest list", list)
}

// ManifestRemove takes one entry out of a list.
func (s *Store) ManifestRemove(_ context.Context, list, entry string) error {
	err := s.editList(list, func(_ *op, ix *imgspec.Index) error {
		i := s.findEntry(ix, entry)
		if i < 0 {
			return errs.New(errs.NotFound, "it has no entry %q", entry)
		}
		ix.Manifests = slices.Delete(ix.Manifests, i, i+1)
		return nil
	})
	return errs.Wrap(err, "remove from manifest list", list)
}

func (s *Store) findEntry(ix *imgspec.Index, entry string) int {
	id := ""
	if img, err := s.Resolve(entry); err == nil {
		id = img.ID
	}
	return slices.IndexFunc(ix.Manifests, func(d imgspec.Descriptor) bool {
		return d.Digest.String() == entry || d.Digest.Encoded() == entry || id != "" && d.Annotations[sourceAnnotation] == id
	})
}

// ManifestInspect returns a list (or a manifest) as JSON: of the store, else of
// a registry.
func (s *Store) ManifestInspect(ctx context.Context, name string, ro RemoteOptions) ([]byte, error) {
	_, ix, err := s.readIndex(name)
	if err == nil {
		hideSources(ix)
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
	sys, err := s.system(ro.pull())
	if err != nil {
		return nil, err
	}
	named, err := parseName(strings.TrimPrefix(name, "docker://"))
	if err != nil {
		return nil, err
	}
	raw, _, src, err := openRemote(ctx, sys, named)
	if err != nil {
		return nil, err
	}
	src.Close()
	return raw, nil
}

func hideSources(ix *imgspec.Index) {
	for i := range ix.Manifests {
		a := maps.Clone(ix.Manifests[i].Annotations)
		delete(a, sourceAnnotation)
		if len(a) == 0 {
			a = nil
		}
		ix.Manifests[i].Annotations = a
	}
}

// ManifestPush sends a list and its images to a registry and returns the list's
// digest there. format is "oci", "v2s2" or empty (oci).
func (s *Store) ManifestPush(ctx context.Context, list, dest, format string, ro RemoteOptions, progress Progress) (digest.Digest, error) {
	if dest == "" {
		dest = list
	}
	named, err := parseName(strings.TrimPrefix(dest, "docker://"))
	if err != nil {
		return "", err
	}
	raw, err := s.manifestPush(ctx, list, named, format, ro, progress)
	if err != nil {
		return "", err
	}
	return digest.FromBytes(raw), nil
}

// manifestPush returns the index as it was put at the registry.
func (s *Store) manifestPush(ctx context.Context, list string, named reference.Named, format string, ro RemoteOptions, progress Progress) (raw []byte, err error) {
	op, err := s.begin(false)
	if err != nil {
		return nil, err
	}
	defer op.end(&err)
	img, ix, err := s.readIndex(list)
	if err != nil {
		return nil, err
	}
	sys, err := s.system(ro.pull())
	if err != nil {
		return nil, err
	}
	p, err := placeOf(sys, named)
	if err != nil {
		return nil, err
	}
	at := p.of(named)
	for i := range ix.Manifests {
		if err := op.pushEntry(ctx, sys, at, &ix.Manifests[i], format, progress); err != nil {
			return nil, pushError(err, named)
		}
	}
	hideSources(ix)
	if raw, err = indexBytes(ix, format); err != nil {
		return nil, err
	}
	if err := putIndex(ctx, sys, at, raw); err != nil {
		return nil, pushError(err, named)
	}
	return raw, op.addRepoDigest(img.ID, named.Name()+"@"+digest.FromBytes(raw).String())
}

// pushEntry sends one image and notes how it is known there: compressing its
// layers changes the manifest.
func (o *op) pushEntry(ctx context.Context, sys *types.SystemContext, to reference.Named, d *imgspec.Descriptor, format string, p Progress) error {
	dest, err := docker.NewReferenceUnknownDigest(reference.TrimNamed(to))
	if err != nil {
		return err
	}
	mime, err := manifestType(format)
	if err != nil {
		return err
	}
	var raw []byte
	source := d.Annotations[sourceAnnotation]
	if remote, ok := strings.CutPrefix(source, "docker://"); ok {
		raw, err = copyRemote(ctx, sys, remote, dest, mime)
	} else {
		var img *Image
		if img, err = o.s.Resolve(source); err == nil {
			raw, err = o.copyOut(ctx, img, dest, copyOptions{sys: sys, format: mime, progress: p})
		}
	}
	if err != nil {
		return err
	}
	d.Digest, d.Size, d.MediaType = digest.FromBytes(raw), int64(len(raw)), manifest.GuessMIMEType(raw)
	return nil
}

func copyRemote(ctx context.Context, sys *types.SystemContext, name string, dest types.ImageReference, mime string) ([]byte, error) {
	from, err := docker.ParseReference("//" + name)
	if err != nil {
		return nil, err
	}
	policy, err := policyContext(sys)
	if err != nil {
		return nil, err
	}
	defer func(p *signature.PolicyContext) { _ = p.Destroy() }(policy)
	return copy.Image(ctx, policy, dest, from, &copy.Options{SourceCtx: sys, DestinationCtx: sys, ForceManifestMIMEType: mime, RemoveSignatures: true})
}

func indexBytes(ix *imgspec.Index, format string) ([]byte, error) {
	raw, err := json.Marshal(ix)
	if err != nil || format == "" || format == "oci" {
		return raw, err
	}
	list, err := manifest.ListFromBlob(raw, imgspec.MediaTypeImageIndex)
	if err != nil {
		return nil, err
	}
	if list, err = manifest.ConvertListToMIMEType(list, manifest.DockerV2ListMediaType); err != nil {
		return nil, err
	}
	return list.Serialize()
}

func putIndex(ctx context.Context, sys *types.SystemContext, named reference.Named, raw []byte) error {
	ref, err := docker.NewReference(named)
	if err != nil {
		return err
	}
	dest, err := ref.NewImageDestination(ctx, sys)
	if err != nil {
		return err
	}
	defer dest.Close()
	return RemoteOptions{}.retry(ctx, func() error { return dest.PutManifest(ctx, raw, nil) })
}
