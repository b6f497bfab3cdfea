// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/pkg/compression"
	"go.podman.io/image/v5/signature/signer"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/document"
	"github.com/proa-containers/proa/storage/guard"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/manifestlist"
	"github.com/proa-containers/proa/storage/ocidir"
	"github.com/proa-containers/proa/storage/pack"
	"github.com/proa-containers/proa/storage/registry"
	"github.com/proa-containers/proa/storage/sign"
)

// ManifestPushOptions say where and how a list goes.
type ManifestPushOptions struct {
	registry.RemoteOptions
	Destination string // empty: the list's name; or a name, docker://, oci: or oci-archive:
	Format      string // oci, v2s2 or empty (oci)
	ListOnly    bool   // its images are there already
	Compression string // of the images' layers: gzip, zstd, zstd:chunked or empty
	Level       *int
	Force       bool         // compress again what has another compression
	Sign        sign.Options // its GPG key is GPGSigner's matter
	Progress    Progress     `json:"-"`
}

// ManifestPush sends a list and its images to a registry, or into an OCI
// directory or archive.
func (s *Store) ManifestPush(ctx context.Context, list string, o ManifestPushOptions) (out Pushed, err error) {
	dest := o.Destination
	if dest == "" {
		dest = list
	}
	if t, rest, ok := imagename.CutTransport(dest); ok && t != "docker" {
		if o.Sign.Any() {
			return out, sign.ErrNoSignature(dest)
		}
		out.Name = dest
		out.Digest, err = s.saveList(ctx, list, t, rest, o)
		return out, errs.Wrap(err, "push manifest list", list)
	}
	named, err := imagename.ParseRemote(dest)
	if err != nil {
		return out, err
	}
	out.Name = reference.FamiliarString(named)
	out.Manifests, err = s.manifestPush(ctx, list, named, o)
	if err != nil {
		return out, err
	}
	raw := out.Manifests[len(out.Manifests)-1]
	out.Digest, out.Size = digest.FromBytes(raw), len(raw)
	return out, nil
}

// manifestPush returns what it put at the registry: the images' manifests, and
// last the list.
func (s *Store) manifestPush(ctx context.Context, list string, named reference.Named, o ManifestPushOptions) (sent [][]byte, err error) {
	op, err := s.begin(false)
	if err != nil {
		return nil, err
	}
	defer op.end(&err)
	img, ix, err := s.readIndex(list)
	if err != nil {
		return nil, err
	}
	p := entryPush{op: op, o: o, named: named}
	if p.sys, err = s.system(o.RemoteOptions, ""); err != nil {
		return nil, err
	}
	at, err := registry.Target(p.sys, named)
	if err != nil {
		return nil, err
	}
	p.to = at.Of(named)
	if p.mime, err = manifestType(o.Format); err != nil {
		return nil, err
	}
	if err := p.compress(); err != nil {
		return nil, err
	}
	if p.signers, err = o.Sign.SigstoreSigners(p.to); err != nil {
		return nil, err
	}
	defer sign.CloseSigners(p.signers)
	for i := range ix.Manifests {
		if o.ListOnly {
			break
		}
		raw, err := p.push(ctx, &ix.Manifests[i])
		if err != nil {
			return nil, registry.PushError(err, named)
		}
		sent = append(sent, raw)
	}
	manifestlist.HideSources(ix)
	raw, err := manifestlist.Encode(ix, o.Format)
	if err != nil {
		return nil, err
	}
	if err := p.putIndex(ctx, raw); err != nil {
		return nil, registry.PushError(err, named)
	}
	return append(sent, raw), op.addRepoDigest(img.ID, named.Name()+"@"+digest.FromBytes(raw).String())
}

// entryPush sends the images of one list.
type entryPush struct {
	op   *op
	sys  *types.SystemContext
	to   reference.Named
	mime string
	o    ManifestPushOptions
	// named is what is signed: to without what registries.conf makes of it.
	named   reference.Named
	signers []*signer.Signer
}

func (p *entryPush) compress() error {
	if p.o.Compression == "" {
		return nil
	}
	a, err := compression.AlgorithmByName(p.o.Compression)
	if err != nil {
		return errs.New(errs.Invalid, "unknown compression %q", p.o.Compression)
	}
	p.sys.CompressionFormat, p.sys.CompressionLevel = &a, p.o.Level
	return nil
}

// push sends one image and notes how it is known there: compressing its layers
// changes the manifest.
func (p *entryPush) push(ctx context.Context, d *imgspec.Descriptor) ([]byte, error) {
	dest, err := docker.NewReferenceUnknownDigest(reference.TrimNamed(p.to))
	if err != nil {
		return nil, err
	}
	var raw []byte
	id, remote := document.Source(d)
	if remote != "" {
		raw, err = p.copyRemote(ctx, remote, dest)
	} else {
		var img *Image
		if img, err = p.op.s.Resolve(id); err == nil {
			raw, err = p.op.copyOut(ctx, img, dest, copyOptions{sys: p.sys, format: p.mime, progress: p.o.Progress, remote: p.o.RemoteOptions, force: p.o.Force || p.o.Compression != ""})
		}
	}
	if err != nil {
		return nil, err
	}
	d.Digest, d.Size, d.MediaType = digest.FromBytes(raw), int64(len(raw)), manifest.GuessMIMEType(raw)
	// A reference without a digest takes no signature: that comes now.
	exact, err := reference.WithDigest(reference.TrimNamed(p.to), d.Digest)
	if err != nil {
		return nil, err
	}
	ref, err := docker.NewReference(exact)
	if err != nil {
		return nil, err
	}
	return raw, p.sign(ctx, ref)
}

func (p *entryPush) copyRemote(ctx context.Context, name string, dest types.ImageReference) ([]byte, error) {
	named, err := imagename.Parse(name)
	if err != nil {
		return nil, err
	}
	// Credentials for where it goes are not for where it comes from.
	remote := p.o.RemoteOptions
	if reference.Domain(named) != reference.Domain(p.named) {
		remote.Creds = ""
	}
	sys, err := p.op.s.system(remote, "")
	if err != nil {
		return nil, err
	}
	from, err := registry.Source(sys, named)
	if err != nil {
		return nil, err
	}
	policy, err := guard.Policy(sys)
	if err != nil {
		return nil, err
	}
	defer func() { _ = policy.Destroy() }()
	anything, err := guard.Anything() // the source asks the other
	if err != nil {
		return nil, err
	}
	defer func() { _ = anything.Destroy() }()
	var raw []byte
	err = registry.Patiently(ctx, func(ctx context.Context) error {
		raw, err = copy.Image(ctx, anything, dest, guard.Source{ImageReference: from, Policy: policy, What: "image"}, &copy.Options{SourceCtx: sys, DestinationCtx: p.sys, ForceManifestMIMEType: p.mime, RemoveSignatures: true,
			ForceCompressionFormat: p.o.Compression != ""})
		return err
	})
	return raw, err
}

// saveList writes a list into an OCI directory or archive: PATH[:NAME].
func (s *Store) saveList(ctx context.Context, list, transport, rest string, o ManifestPushOptions) (d digest.Digest, err error) {
	if transport != "oci" && transport != "oci-archive" {
		return "", errs.WithHint(errs.New(errs.Unsupported, "the transport %s holds no manifest lists", transport), "use a registry, oci:DIRECTORY or oci-archive:FILE")
	}
	if o.Format != "" && o.Format != "oci" || o.Compression != "" || o.ListOnly {
		return "", errs.New(errs.Unsupported, "an OCI directory gets the list with its images as they are")
	}
	op, err := s.begin(false)
	if err != nil {
		return "", err
	}
	defer op.end(&err)
	img, _, err := s.readIndex(list)
	if err != nil {
		return "", err
	}
	sys, err := s.system(o.RemoteOptions, "")
	if err != nil {
		return "", err
	}
	path, name, _ := strings.Cut(rest, ":")
	if transport == "oci" {
		return op.listLayout(ctx, sys, img, name, path)
	}
	dir, err := os.MkdirTemp(s.tmpDir(), "save-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if d, err = op.listLayout(ctx, sys, img, name, dir); err != nil {
		return "", err
	}
	return d, s.saveArchive(SaveOptions{Path: path}, func(w io.Writer) error { return pack.Tar(w, dir, pack.Options{}) })
}

// listLayout is writeListLayout that tells the digest.
func (o *op) listLayout(ctx context.Context, sys *types.SystemContext, list *Image, name, dir string) (digest.Digest, error) {
	if err := o.writeListLayout(ctx, sys, list, []string{name}, dir); err != nil {
		return "", err
	}
	ix, err := ocidir.ReadIndex(dir)
	if err != nil {
		return "", err
	}
	return ix.Manifests[len(ix.Manifests)-1].Digest, nil // it comes last
}

// putIndex sends the list itself.
func (p *entryPush) putIndex(ctx context.Context, raw []byte) error {
	ref, err := docker.NewReference(p.to)
	if err != nil {
		return err
	}
	err = p.o.Retrying(ctx, func() error {
		return registry.Sending(ctx, func(ctx context.Context) error {
			dest, err := ref.NewImageDestination(ctx, p.sys)
			if err != nil {
				return err
			}
			defer dest.Close()
			return dest.PutManifest(ctx, raw, nil)
		})
	})
	if err != nil {
		return err
	}
	// By its digest: at the name there could be another one by now.
	exact, err := reference.WithDigest(reference.TrimNamed(p.to), digest.FromBytes(raw))
	if err != nil {
		return err
	}
	if ref, err = docker.NewReference(exact); err != nil {
		return err
	}
	return p.sign(ctx, ref)
}

// sign signs what lies at a registry. The library signs only what it copies: so
// onto itself, and of a list none of its images with it.
func (p *entryPush) sign(ctx context.Context, ref types.ImageReference) error {
	if p.signers == nil {
		return nil
	}
	policy, err := guard.Anything()
	if err != nil {
		return err
	}
	defer func() { _ = policy.Destroy() }()
	return p.o.Retrying(ctx, func() error {
		return registry.Sending(ctx, func(ctx context.Context) error {
			_, err := copy.Image(ctx, policy, ref, ref, &copy.Options{
				SourceCtx: p.sys, DestinationCtx: p.sys, ImageListSelection: copy.CopySpecificImages, PreserveDigests: true,
				Signers: p.signers, SignIdentity: p.named,
			})
			return err
		})
	})
}
