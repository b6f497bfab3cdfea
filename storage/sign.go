// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/pkg/cli/sigstore/params"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/signature/signer"
	"go.podman.io/image/v5/signature/sigstore"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/registry"
	"github.com/proa-containers/proa/storage/trust"
)

// Signing says with whose keys that which is pushed gets signed.
type Signing struct {
	GPGKey      string  // what names a key to gpg
	SigstoreKey string  // file with a private key
	Passphrase  *string // of the one key; nil: gpg's agent asks, a sigstore key has none
}

// SigstoreParams reads a file as containers-sigstore-signing-params.yaml(5) has
// it: the key and the file with its passphrase.
func SigstoreParams(path string) (key, passphraseFile string, err error) {
	p, err := params.ParseFile(path)
	if err != nil {
		return "", "", errs.New(errs.Invalid, "cannot read the signing parameters: %w", err)
	}
	if p.Fulcio != nil || p.RekorURL != "" {
		return "", "", errs.WithHint(errs.New(errs.Unsupported, "%s asks for Fulcio or Rekor: only keys in files are implemented", path), "set privateKeyFile alone, or sign with cosign")
	}
	if p.PrivateKeyFile == "" {
		return "", "", errs.New(errs.Invalid, "%s names no privateKeyFile", path)
	}
	return p.PrivateKeyFile, p.PrivateKeyPassphraseFile, nil
}

// GenerateSigstoreKey makes a pair of keys, the private one encrypted.
func GenerateSigstoreKey(passphrase string) (private, public []byte, err error) {
	k, err := sigstore.GenerateKeyPair([]byte(passphrase))
	if err != nil {
		return nil, nil, err
	}
	return k.PrivateKey, k.PublicKey, nil
}

func (o *Signing) any() bool { return o.GPGKey != "" || o.SigstoreKey != "" }

// sigstoreSigners are none without a sigstore key. The caller closes them. What
// the library would refuse after the image was sent is refused here.
func (o *Signing) sigstoreSigners(at reference.Named) ([]*signer.Signer, error) {
	if o.SigstoreKey == "" {
		return nil, nil
	}
	if err := checkAttachments(at); err != nil {
		return nil, err
	}
	passphrase := []byte{}
	if o.Passphrase != nil {
		passphrase = []byte(*o.Passphrase)
	}
	s, err := sigstore.NewSigner(sigstore.WithPrivateKeyFile(o.SigstoreKey, passphrase))
	if err != nil {
		kind := errs.Invalid
		if errors.Is(err, fs.ErrNotExist) {
			kind = errs.NotFound
		}
		return nil, errs.WithHint(errs.Wrap(errs.New(kind, "%w", err), "sign with the key", o.SigstoreKey),
			"give its passphrase with --sign-passphrase-file; make a key with \"proa image trust generate-key\"")
	}
	return []*signer.Signer{s}, nil
}

func closeSigners(list []*signer.Signer) {
	for _, s := range list {
		_ = s.Close()
	}
}

// checkAttachments looks whether registries.d lets sigstore signatures be.
func checkAttachments(at reference.Named) error {
	reg, err := trust.ReadRegistries("")
	if err != nil || reg.Attachments(at.String()) {
		return err
	}
	domain := reference.Domain(at)
	return errs.WithHint(errs.New(errs.Invalid, "sigstore signatures are not switched on for %s", domain),
		"write to ~/.config/containers/registries.d/sigstore.yaml: {docker: {%q: {use-sigstore-attachments: true}}}", domain)
}

// GPGSigner signs what lies at a registry; its signatures are files.
type GPGSigner struct {
	s   *Store
	gpg gpg
	key string
	sys *types.SystemContext
	dir string // instead of the place that registries.d names; empty: that
}

// NewGPGSigner looks whether the key can sign for all of the names, and where
// the signatures would go. dir is for signatures instead of what registries.d
// says, or empty.
func (s *Store) NewGPGSigner(ctx context.Context, o Signing, dir string, names ...string) (*GPGSigner, error) {
	sys, err := s.system(PullOptions{})
	if err != nil {
		return nil, err
	}
	g := &GPGSigner{s: s, gpg: gpg{ctx, o.Passphrase}, key: o.GPGKey, sys: sys, dir: dir}
	for _, n := range names {
		if t, _, ok := cutTransport(n); ok && t != "docker" {
			return nil, errNoSignature(n)
		}
		named, err := parseRemote(n)
		if err != nil {
			return nil, err
		}
		if _, err := g.base(named); err != nil {
			return nil, err
		}
	}
	return g, g.gpg.check(g.key)
}

// parseRemote reads a name at a registry, with or without docker://.
func parseRemote(name string) (reference.Named, error) {
	return imagename.Parse(strings.TrimPrefix(name, "docker://"))
}

func errNoSignature(dest string) error {
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
	named, err := parseRemote(name)
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
	_, raw, mime, src, err := g.s.openRemote(ctx, strings.TrimPrefix(name, "docker://"), ro)
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
			d, err := list.ChooseInstance(g.sys)
			if err != nil {
				return nil, noPlatform(g.sys)
			}
			signed, instances = nil, []digest.Digest{d}
		}
		for _, d := range instances {
			raw, _, err := image.UnparsedInstance(src, &d).Manifest(ctx)
			if err != nil {
				return nil, errs.Wrap(err, "read the manifest", d.String())
			}
			signed = append(signed, raw)
		}
	}
	return g.Sign(name, signed...)
}

// putSignature adds a signature to those of an image: the files signature-1,
// signature-2 and so on, without a gap. It replaces the older one by the same
// key for the same name.
func putSignature(dir string, sig []byte) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", err
	}
	defer d.Close()
	if err := flock(d, syscall.LOCK_EX); err != nil {
		return "", err
	}
	own, err := signature.GetUntrustedSignatureInformationWithoutVerifying(sig)
	if err != nil {
		return "", err
	}
	for i := 1; ; i++ {
		path := filepath.Join(dir, fmt.Sprintf("signature-%d", i))
		there, err := os.ReadFile(path)
		if err != nil && !notExist(err) {
			return "", err
		}
		if err == nil {
			old, err := signature.GetUntrustedSignatureInformationWithoutVerifying(there)
			if err != nil || old.UntrustedShortKeyIdentifier != own.UntrustedShortKeyIdentifier || old.UntrustedDockerReference != own.UntrustedDockerReference {
				continue
			}
		}
		return path, atomicfile.Write(path, sig, 0o644, atomicfile.Durable)
	}
}
