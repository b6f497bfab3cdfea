// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/pkg/compression"
	"go.podman.io/image/v5/signature/signer"
	cistorage "go.podman.io/image/v5/storage"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/crypt"
	"github.com/proa-containers/proa/storage/guard"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/progress"
	"github.com/proa-containers/proa/storage/registry"
	"github.com/proa-containers/proa/storage/sign"
)

// PushOptions say where and how an image goes.
type PushOptions struct {
	registry.RemoteOptions
	Destination string // empty: the image's name; or a name, or TRANSPORT:REFERENCE
	AllTags     bool
	Format      string // oci, v2s2 or empty: as the image is
	Compression string // gzip, zstd, zstd:chunked; empty: gzip for what is not compressed
	Level       *int
	Sign        sign.Options       // its GPG key is GPGSigner's matter
	Encrypt     *crypt.EncryptKeys // nil: layers stay readable
	EncryptOnly []int              // of the layers; negative from the last; empty: all
	Progress    Progress
}

// Pushed is what one push put there.
type Pushed struct {
	Name   string // familiar, or TRANSPORT:REFERENCE
	Digest digest.Digest
	Size   int // bytes of the manifest
	// Manifests are all that the push put there: what gets signed.
	Manifests [][]byte `json:",omitempty"`
}

// errNotHere begins Docker's sentence about an image that is not in the store.
var errNotHere = errs.New(errs.NotFound, "An image does not exist locally with the tag")

// Push copies an image to a registry, an archive or a directory.
func (s *Store) Push(ctx context.Context, ref string, o PushOptions) ([]Pushed, error) {
	dest := o.Destination
	if dest == "" {
		dest = ref
	}
	if t, _, ok := imagename.CutTransport(dest); ok && t != "docker" {
		if o.Sign.Any() {
			return nil, sign.ErrNoSignature(dest)
		}
		p, err := s.pushOne(ctx, ref, dest, nil, o)
		return []Pushed{p}, errs.Wrap(err, "push image", ref)
	}
	dest = strings.TrimPrefix(dest, "docker://")
	named, err := imagename.Parse(dest)
	if err != nil {
		return nil, err
	}
	tags := []reference.Named{named}
	if o.AllTags {
		if tags, err = s.tagsOf(dest, named); err != nil {
			return nil, err
		}
	}
	tell := &progress.Teller{To: o.Progress}
	tell.Line("The push refers to repository [" + named.Name() + "]")
	var out []Pushed
	for _, n := range tags {
		from := ref
		if o.AllTags {
			from = n.String()
		}
		p, err := s.pushOne(ctx, from, "docker://"+n.String(), n, o)
		if errors.Is(err, errNotHere) {
			return out, err // of the image and not of its destination
		}
		if err != nil {
			return out, registry.PushError(err, n)
		}
		out = append(out, p)
		tag := n.String()
		if t, ok := n.(reference.Tagged); ok {
			tag = t.Tag()
		}
		tell.Line(fmt.Sprintf("%s: digest: %s size: %d", tag, p.Digest, p.Size))
	}
	return out, nil
}

// tagsOf lists the local names of a repository.
func (s *Store) tagsOf(given string, named reference.Named) ([]reference.Named, error) {
	if n, err := reference.ParseNormalizedNamed(given); err == nil && !reference.IsNameOnly(n) {
		return nil, errs.New(errs.Invalid, "tag can't be used with --all-tags/-a")
	}
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	var out []reference.Named
	for _, m := range list {
		for _, name := range m.Names {
			if n, err := imagename.Parse(name); err == nil && n.Name() == named.Name() {
				out = append(out, n)
			}
		}
	}
	if out == nil {
		return nil, errs.New(errs.NotFound, "%w: %s", errNotHere, reference.FamiliarName(named))
	}
	return out, nil
}

func (s *Store) pushOne(ctx context.Context, ref, dest string, named reference.Named, o PushOptions) (p Pushed, err error) {
	img, err := s.Resolve(ref)
	if errs.Is(err, errs.NotFound) && named != nil {
		return p, errs.New(errs.NotFound, "%w: %s", errNotHere, ref)
	}
	if err != nil {
		return p, err
	}
	if img.List && named != nil {
		return s.pushList(ctx, img, named, o)
	}
	sys, err := s.system(o.RemoteOptions, "")
	if err != nil {
		return p, err
	}
	if img.List {
		return p, errs.WithHint(errs.New(errs.Unsupported, "%s is a manifest list, which %s cannot hold", ref, dest), "proa save --format oci-archive -o FILE %s", ref)
	}
	at, where := &registry.Place{}, dest
	if named != nil {
		if at, err = registry.Target(sys, named); err != nil {
			return p, err
		}
		where = "docker://" + at.Of(named).String()
	}
	signers, err := o.Sign.SigstoreSigners(at.Of(named))
	if err != nil {
		return p, err
	}
	defer sign.CloseSigners(signers)
	op, err := s.begin(false)
	if err != nil {
		return p, err
	}
	defer op.end(&err)
	to, done, err := s.destination(where)
	if err != nil {
		return p, err
	}
	defer done()
	if o.Compression != "" {
		a, err := compression.AlgorithmByName(o.Compression)
		if err != nil {
			return p, errs.New(errs.Invalid, "unknown compression %q", o.Compression)
		}
		sys.CompressionFormat, sys.CompressionLevel = &a, o.Level
	}
	format, err := manifestType(o.Format)
	if err != nil {
		return p, err
	}
	if o.Encrypt != nil && format == manifest.DockerV2Schema2MediaType {
		return p, errs.WithHint(errs.New(errs.Invalid, "only images in the OCI format can be encrypted"), "use --format oci")
	}
	co := copyOptions{sys: sys, format: format, encrypt: o.Encrypt, encryptOnly: o.EncryptOnly, signers: signers, identity: named, progress: o.Progress, force: o.Compression != "", remote: o.RemoteOptions}
	if named != nil {
		co.mountFrom = s.primeCache(sys, at, img, named)
	}
	raw, err := op.copyOut(ctx, img, to, co)
	if err != nil {
		return p, err
	}
	p.Size, p.Manifests = len(raw), [][]byte{raw}
	p.Name = dest
	if p.Digest, err = manifest.Digest(raw); err != nil || named == nil {
		return p, err
	}
	p.Name = reference.FamiliarString(named)
	return p, op.addRepoDigest(img.ID, named.Name()+"@"+p.Digest.String())
}

// pushList sends a manifest list with all its images.
func (s *Store) pushList(ctx context.Context, list *Image, named reference.Named, o PushOptions) (Pushed, error) {
	if o.Compression != "" || o.Level != nil || o.Encrypt != nil {
		return Pushed{}, errs.WithHint(errs.New(errs.Unsupported, "%s is a manifest list: its images cannot be compressed or encrypted on the way", reference.FamiliarString(named)),
			"push its images one by one, and then the list")
	}
	return s.ManifestPush(ctx, list.ID, ManifestPushOptions{
		RemoteOptions: o.RemoteOptions, Destination: named.String(), Format: o.Format, Sign: o.Sign, Progress: o.Progress,
	})
}

// destination opens what TRANSPORT:REFERENCE means. The caller calls done.
func (s *Store) destination(where string) (to types.ImageReference, done func(), err error) {
	if t, rest, ok := imagename.CutTransport(where); ok && t == imagename.ContainersStorage {
		return s.writeForeign(rest)
	}
	to, err = registry.ParseTransport(where)
	return to, func() {}, err
}

func manifestType(format string) (string, error) {
	switch format {
	case "":
		return "", nil
	case "oci":
		return imgspec.MediaTypeImageManifest, nil
	case "v2s2", "docker":
		return manifest.DockerV2Schema2MediaType, nil
	}
	return "", errs.New(errs.Invalid, "unknown format %q: oci and v2s2 are known", format)
}

type copyOptions struct {
	remote  registry.RemoteOptions
	sys     *types.SystemContext
	format  string // MIME type; empty: any
	encrypt *crypt.EncryptKeys
	// encryptOnly are layers; empty: all.
	encryptOnly []int
	signers     []*signer.Signer
	identity    reference.Named // that they sign; nil without them
	progress    Progress
	all         bool // of a list: every image, not only this platform's
	force       bool // recompress what has another compression
	// mountFrom is the repository that layers come from which need no sending.
	mountFrom string
}

// copyOut copies an image of the store elsewhere and returns its manifest there.
func (o *op) copyOut(ctx context.Context, img *Image, to types.ImageReference, co copyOptions) ([]byte, error) {
	from, err := cistorage.Transport.NewStoreReference(o.store, nil, img.ID)
	if err != nil {
		return nil, err
	}
	// What goes out was accepted when it came in.
	policy, err := guard.Anything()
	if err != nil {
		return nil, err
	}
	defer func() { _ = policy.Destroy() }()
	opts := &copy.Options{
		SourceCtx: co.sys, DestinationCtx: co.sys, ForceManifestMIMEType: co.format, Signers: co.signers, SignIdentity: co.identity,
		ForceCompressionFormat: co.force && co.sys.CompressionFormat != nil,
	}
	if co.encrypt != nil {
		only := append([]int{}, co.encryptOnly...)
		opts.OciEncryptConfig, opts.OciEncryptLayers = co.encrypt, &only
	}
	if co.all {
		opts.ImageListSelection = copy.CopyAllImages
	}
	stop := progress.Report(opts, &progress.AsPushed, img.ID, co.mountFrom, &progress.Teller{To: co.progress})
	defer stop()
	var raw []byte
	err = co.remote.Retrying(ctx, func() error {
		return registry.Sending(ctx, func(ctx context.Context) error {
			raw, err = copy.Image(ctx, policy, to, from, opts)
			return err
		})
	})
	return raw, err
}

// addRepoDigest remembers under which digest a registry knows the image.
func (o *op) addRepoDigest(id, repoDigest string) error {
	return o.editDigests(id, func(list []string) []string {
		if slices.Contains(list, repoDigest) {
			return list
		}
		return append(list, repoDigest)
	})
}

// editDigests changes the names by digest of an image.
func (o *op) editDigests(id string, edit func([]string) []string) error {
	img, err := o.store.Image(id)
	if err != nil {
		return err
	}
	var md index.Metadata
	_ = json.Unmarshal([]byte(img.Metadata), &md)
	list := edit(slices.Clone(md.RepoDigests))
	if slices.Equal(list, md.RepoDigests) {
		return nil
	}
	md.RepoDigests = list
	text, err := json.Marshal(md)
	if err != nil {
		return err
	}
	return o.store.SetMetadata(id, string(text))
}
