// SPDX-License-Identifier: Apache-2.0

// Package crypt reads the keys of encrypted layers and opens such layers.
package crypt

import (
	"errors"
	"io"
	"io/fs"
	"os/exec"
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

// DecryptionKeys reads private keys: FILE, FILE:PASSWORD, FILE:file=FILE,
// provider:NAME. Kind NotFound: there is no such file; Invalid: it is no key.
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
// provider:NAME. Kinds as of DecryptionKeys.
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

// Encrypted tells by its media type whether a layer is encrypted.
func Encrypted(mediaType string) bool { return strings.HasSuffix(mediaType, "+encrypted") }

// Check finds out, before anything is fetched, whether every layer can be opened;
// keys may be nil. Kind Denied: one cannot.
func Check(layers []types.BlobInfo, keys *DecryptKeys) error {
	for _, l := range layers {
		if !Encrypted(l.MediaType) {
			continue
		}
		if keys == nil {
			return errs.WithHint(errs.New(errs.Denied, "the image's layers are encrypted"), "give its key to pull, run, create or build: --decryption-key KEY.pem")
		}
		_, _, err := ocicrypt.DecryptLayer(keys, nil, imgspec.Descriptor{Annotations: l.Annotations}, true)
		if err != nil {
			return errs.WithHint(errs.New(errs.Denied, "the image's layers are encrypted, and none of the keys opens %s", l.Digest), "give the private key that it was encrypted for: --decryption-key KEY.pem")
		}
	}
	return nil
}

// Decrypt is the plain stream of an encrypted layer, which is read from r. Closing
// r is the caller's. Kind Corrupt: it is not encrypted as the layer says.
func Decrypt(r io.Reader, l types.BlobInfo, keys *DecryptKeys) (io.Reader, error) {
	plain, _, err := ocicrypt.DecryptLayer(keys, r, imgspec.Descriptor{Annotations: l.Annotations}, false)
	if err != nil {
		return nil, errs.New(errs.Corrupt, "cannot decrypt: %w", err)
	}
	return plain, nil
}
