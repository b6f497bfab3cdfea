// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os/exec"
	"slices"
	"strings"

	"github.com/containers/ocicrypt"
	encconfig "github.com/containers/ocicrypt/config"
	"github.com/containers/ocicrypt/helpers"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
)

// Keys are read by the user's own process, before anything else is done, and
// handed on as values: inside of the namespace files and gpg could be others'.
type (
	// DecryptKeys open encrypted layers.
	DecryptKeys = encconfig.DecryptConfig
	// EncryptKeys say who can open what is encrypted.
	EncryptKeys = encconfig.EncryptConfig
)

const encryptedSuffix = "+encrypted"

// DecryptionKeys reads private keys: FILE, FILE:PASSWORD, FILE:file=FILE,
// provider:NAME.
func DecryptionKeys(keys []string) (*DecryptKeys, error) {
	cc, err := helpers.CreateDecryptCryptoConfig(keys, nil)
	if err != nil {
		return nil, keyError("decryption", err)
	}
	// The library passes over files that it does not understand.
	if cc.DecryptConfig == nil || len(cc.DecryptConfig.Parameters) == 0 {
		return nil, errs.WithHint(errs.New(errs.Invalid, "no private key is in it"), "it takes KEY.pem or KEY.pem:PASSWORD; a key with a password must be in the older format: openssl rsa -in KEY.pem -traditional -aes256 -out NEW.pem")
	}
	return cc.DecryptConfig, nil
}

// EncryptionKeys reads public keys: jwe:FILE, pkcs7:FILE, pgp:NAME,
// provider:NAME.
func EncryptionKeys(keys []string) (*EncryptKeys, error) {
	for _, k := range keys {
		if !strings.HasPrefix(k, "pgp:") {
			continue
		}
		if _, err := exec.LookPath("gpg"); err != nil { // the library would leave the key out
			return nil, errs.WithHint(errs.New(errs.Unsupported, "gpg is not installed"), "install the package gnupg")
		}
	}
	cc, err := helpers.CreateCryptoConfig(keys, nil)
	if err != nil {
		return nil, keyError("encryption", err)
	}
	return cc.EncryptConfig, nil
}

func keyError(what string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errs.New(errs.NotFound, "cannot read the %s key: %w", what, err)
	}
	hint := "it takes jwe:PUBLIC.pem, pkcs7:CERTIFICATE.pem, pgp:MAIL or provider:NAME"
	if what == "decryption" {
		hint = "it takes a file with a private key: KEY.pem, or KEY.pem:PASSWORD"
	}
	return errs.WithHint(errs.New(errs.Invalid, "cannot read the %s key: %w", what, err), "%s", hint)
}

func encrypted(l types.BlobInfo) bool { return strings.HasSuffix(l.MediaType, encryptedSuffix) }

// checkKeys finds out, before anything is fetched, whether every layer can be
// opened.
func (f *fetched) checkKeys() error {
	for _, l := range f.layers {
		if !encrypted(l) {
			continue
		}
		if f.remote.Decrypt == nil {
			return errs.WithHint(errs.New(errs.Denied, "the image's layers are encrypted"), "give its key to pull, run, create or build: --decryption-key KEY.pem")
		}
		_, _, err := ocicrypt.DecryptLayer(f.remote.Decrypt, nil, imgspec.Descriptor{Annotations: l.Annotations}, true)
		if err != nil {
			return errs.WithHint(errs.New(errs.Denied, "the image's layers are encrypted, and none of the keys opens %s", l.Digest), "give the private key that it was encrypted for: --decryption-key KEY.pem")
		}
	}
	return nil
}

// plainManifest is the manifest of the image as it is in the store: what was
// encrypted is now the uncompressed layer that the configuration names.
func (f *fetched) plainManifest() ([]byte, error) {
	var m imgspec.Manifest
	if err := json.Unmarshal(f.raw, &m); err != nil || len(m.Layers) != len(f.diffIDs) {
		return nil, errs.New(errs.Corrupt, "cannot read the manifest of an encrypted image: %v", err)
	}
	parent := ""
	for i := range m.Layers {
		parent = layerID(parent, f.diffIDs[i])
		l := &m.Layers[i]
		if !strings.HasSuffix(l.MediaType, encryptedSuffix) {
			continue
		}
		layer, err := f.o.store.Layer(parent)
		if err != nil {
			return nil, err
		}
		l.MediaType, l.Digest, l.Size = imgspec.MediaTypeImageLayer, f.diffIDs[i], layer.UncompressedSize
		l.Annotations = ocicrypt.FilterOutAnnotations(l.Annotations)
		if len(l.Annotations) == 0 {
			l.Annotations = nil
		}
	}
	return json.Marshal(m)
}

// anyEncrypted says whether the image that is fetched was encrypted.
func (f *fetched) anyEncrypted() bool { return slices.ContainsFunc(f.layers, encrypted) }
