// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/registry"
)

// GPGSigner signs what lies at a registry; its signatures are files.
type GPGSigner struct {
	gpg gpg
	key string
	sys *types.SystemContext
	dir string // instead of the place that registries.d names; empty: that
}

// NewGPGSigner looks whether the key can sign for all of the names, and where
// the signatures would go. dir is for signatures instead of what registries.d
// says, or empty. Kind Invalid: one of the names is none at a registry, or the key
// cannot sign; Unsupported: there is no gpg.
func NewGPGSigner(ctx context.Context, o Options, dir string, names ...string) (*GPGSigner, error) {
	sys, err := registry.RemoteOptions{}.SystemContext()
	if err != nil {
		return nil, err
	}
	g := &GPGSigner{gpg: gpg{ctx, o.Passphrase}, key: o.GPGKey, sys: sys, dir: dir}
	for _, n := range names {
		if t, _, ok := imagename.CutTransport(n); ok && t != "docker" {
			return nil, ErrNoSignature(n)
		}
		named, err := imagename.ParseRemote(n)
		if err != nil {
			return nil, err
		}
		if _, err := g.base(named); err != nil {
			return nil, err
		}
	}
	return g, g.gpg.check(g.key)
}

// ErrNoSignature is that what is sent to dest, which is no registry, cannot be
// signed. Kind Invalid.
func ErrNoSignature(dest string) error {
	return errs.WithHint(errs.New(errs.Invalid, "%s cannot be signed: a signature holds for an image's name at a registry", dest), "push it to a registry")
}

// base is the path that the signatures of a repository's images begin with.
func (g *GPGSigner) base(named reference.Named) (string, error) {
	if g.dir != "" {
		return filepath.Join(g.dir, reference.Path(named)), nil
	}
	// As for blobs and manifests, the place decides and not the name: the
	// library looks for signatures there.
	p, err := registry.PlaceOf(g.sys, named)
	if err != nil {
		return "", err
	}
	ref, err := docker.NewReference(p.Of(named))
	if err != nil {
		return "", imagename.Bad(named.String(), err)
	}
	u, err := docker.SignatureStorageBaseURL(g.sys, ref, true)
	if err != nil {
		return "", errs.Wrap(err, "read", "registries.d")
	}
	if u.Scheme != "file" {
		return "", errs.WithHint(errs.New(errs.Invalid, "cannot write a signature to %s", u.Redacted()),
			"write to ~/.config/containers/registries.d/default.yaml: {default-docker: {lookaside-staging: \"file:///DIRECTORY\"}}")
	}
	return u.Path, nil
}

// Sign signs manifests under a name and returns where the signatures are.
// Signatures by other keys stay.
func (g *GPGSigner) Sign(name string, manifests ...[]byte) ([]string, error) {
	named, err := imagename.ParseRemote(name)
	if err != nil {
		return nil, err
	}
	base, err := g.base(named)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range manifests {
		d, err := manifest.Digest(m)
		if err != nil {
			return out, err
		}
		sig, err := signature.SignDockerManifestWithOptions(m, named.String(), g.gpg, g.key, nil)
		if err != nil {
			return out, errs.Wrap(err, "sign image", name)
		}
		path, err := putSignature(fmt.Sprintf("%s@%s=%s", base, d.Algorithm(), d.Encoded()), sig)
		if err != nil {
			return out, errs.Wrap(err, "store the signature of", name)
		}
		out = append(out, path)
	}
	return out, nil
}

// SignRemote signs what lies at a registry already: an image, of a list that for
// this machine, or with all the list and all of its images.
func (g *GPGSigner) SignRemote(ctx context.Context, name string, all bool, ro registry.RemoteOptions) ([]string, error) {
	named, err := imagename.ParseRemote(name)
	if err != nil {
		return nil, err
	}
	sys, err := ro.SystemContext()
	if err != nil {
		return nil, err
	}
	raw, mime, src, err := registry.OpenManifest(ctx, sys, named, ro)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	signed := [][]byte{raw}
	if manifest.MIMETypeIsMultiImage(mime) {
		list, err := manifest.ListFromBlob(raw, mime)
		if err != nil {
			return nil, errs.New(errs.Corrupt, "cannot read the index: %w", err)
		}
		instances := list.Instances()
		if !all {
			d, err := registry.ChooseInstance(g.sys, list)
			if err != nil {
				return nil, err
			}
			signed, instances = nil, []digest.Digest{d}
		}
		for _, d := range instances {
			raw, err := instance(ctx, src, d, ro)
			if err != nil {
				return nil, errs.Wrap(registry.Explain(err, named), "read the manifest", d.String())
			}
			signed = append(signed, raw)
		}
	}
	return g.Sign(name, signed...)
}

// instance reads the manifest of one of a list's images, checked by its digest.
func instance(ctx context.Context, src types.ImageSource, d digest.Digest, ro registry.RemoteOptions) (raw []byte, err error) {
	err = ro.Retrying(ctx, func() error {
		return registry.Within(ctx, func(ctx context.Context) error {
			raw, _, err = image.UnparsedInstance(src, &d).Manifest(ctx)
			return err
		})
	})
	return raw, err
}
