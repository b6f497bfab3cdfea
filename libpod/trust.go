// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"os"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/rootless/userns"
	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/crypt"
	"github.com/proa-containers/proa/storage/sign"
	"github.com/proa-containers/proa/storage/trust"
)

type (
	// EncryptKeys say who can open what is encrypted.
	EncryptKeys = crypt.EncryptKeys
	// DecryptKeys open encrypted layers.
	DecryptKeys = crypt.DecryptKeys
)

// EncryptionKeys reads public keys: jwe:FILE and others.
func EncryptionKeys(keys []string) (*EncryptKeys, error) { return crypt.EncryptionKeys(keys) }

// DecryptionKeys reads private keys: FILE[:PASSWORD] and others.
func DecryptionKeys(keys []string) (*DecryptKeys, error) { return crypt.DecryptionKeys(keys) }

// SignOptions say with whose keys that which is pushed gets signed.
type SignOptions = sign.Options

// gpgSigner returns what signs after a push: in this process, outside of the
// namespace, since that is where the user's gpg has its agent. Without a GPG key
// nothing is done.
func (e *Engine) gpgSigner(ctx context.Context, o SignOptions, dest string) (sign func(*storage.Pushed, storage.Progress) error, err error) {
	if o.GPGKey == "" {
		return func(*storage.Pushed, storage.Progress) error { return nil }, nil
	}
	g, err := e.newGPGSigner(ctx, o, "", dest)
	if err != nil {
		return nil, err
	}
	return func(d *storage.Pushed, p storage.Progress) error {
		paths, err := g.Sign(d.Name, d.Manifests...)
		if p != nil {
			for _, s := range paths {
				p.Line("Signature: " + s)
			}
		}
		return errs.WithHint(err, "%s was pushed without a signature: push again", d.Name)
	}, nil
}

func (e *Engine) newGPGSigner(ctx context.Context, o SignOptions, dir, dest string) (*sign.GPGSigner, error) {
	if userns.Inside() && os.Geteuid() == 0 {
		return nil, errs.WithHint(errs.New(errs.Unsupported, "gpg cannot reach its agent from inside \"proa unshare\""), "sign from outside")
	}
	return sign.NewGPGSigner(ctx, o, dir, dest)
}

// ImageSignOptions say how an image at a registry is signed.
type ImageSignOptions struct {
	RemoteOptions
	Sign      SignOptions
	Directory string // for the signature; empty: as registries.d says
	All       bool   // a list with all of its images
}

// ImageSign signs an image that lies at a registry and returns where the
// signatures are.
func (e *Engine) ImageSign(ctx context.Context, name string, o ImageSignOptions) ([]string, error) {
	g, err := e.newGPGSigner(ctx, o.Sign, o.Directory, name)
	if err != nil {
		return nil, err
	}
	return g.SignRemote(ctx, name, o.All, o.RemoteOptions)
}

// SigstoreParams reads a file of signing parameters: the key and the file with
// its passphrase.
func SigstoreParams(path string) (key, passphraseFile string, err error) {
	return sign.SigstoreParams(path)
}

// GenerateSigstoreKey makes a pair of keys, the private one encrypted.
func GenerateSigstoreKey(passphrase string) (private, public []byte, err error) {
	return sign.GenerateSigstoreKey(passphrase)
}

// The signature policy, under the engine's name.
type (
	// TrustSetting is a rule for the images of a registry.
	TrustSetting = trust.Setting
	// TrustEntry is one rule as it is shown.
	TrustEntry = trust.Entry
	// TrustListOptions say whose rules are shown.
	TrustListOptions = trust.ListOptions
)

// TrustSet puts a rule into the policy and returns the file that it is in.
func (e *Engine) TrustSet(s TrustSetting) (path string, err error) { return trust.Set(s) }

// TrustList reads the rules in force.
func (e *Engine) TrustList(o TrustListOptions) ([]TrustEntry, error) { return trust.List(o) }

// TrustPolicy is the file of the policy in force (path, or where it is empty
// the first that is found) as it is. Kind NotFound: there is none.
func (e *Engine) TrustPolicy(path string) ([]byte, error) {
	found, data, err := trust.InForce(path)
	if err == nil && found == "" {
		err = errs.WithHint(errs.New(errs.NotFound, "no policy.json is here: every image is accepted"), "write one: proa image trust set --type accept default")
	}
	return data, err
}
