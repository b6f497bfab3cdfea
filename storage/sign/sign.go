// SPDX-License-Identifier: Apache-2.0

// Package sign makes signatures of images: with the user's own GnuPG, whose
// signatures are files, or with a sigstore key, whose signatures go to the
// registry. Who checks signatures is storage/trust and the pull.
package sign

import (
	"errors"
	"io/fs"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/cli/sigstore/params"
	"go.podman.io/image/v5/signature/signer"
	"go.podman.io/image/v5/signature/sigstore"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/trust"
)

// Options say with whose keys that which is pushed gets signed.
type Options struct {
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

// Any reports whether a key is given at all.
func (o *Options) Any() bool { return o.GPGKey != "" || o.SigstoreKey != "" }

// SigstoreSigners are none without a sigstore key. The caller closes them. What
// the library would refuse after the image was sent is refused here.
func (o *Options) SigstoreSigners(at reference.Named) ([]*signer.Signer, error) {
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

// CloseSigners closes what SigstoreSigners returned.
func CloseSigners(list []*signer.Signer) {
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
