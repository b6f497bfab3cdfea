// SPDX-License-Identifier: Apache-2.0

package crypt

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containers/ocicrypt"
	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
)

// pair makes a key and returns the files of its two halves.
func pair(t *testing.T) (public, private string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("public.pem", "PUBLIC KEY", pub), write("private.pem", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}

const plain = "the layer's content"

// encrypted is a layer for whoever has the private key.
func encrypted(t *testing.T, public string) (types.BlobInfo, []byte) {
	t.Helper()
	keys, err := EncryptionKeys([]string{"jwe:" + public})
	if err != nil {
		t.Fatal(err)
	}
	d := imgspec.Descriptor{MediaType: imgspec.MediaTypeImageLayer, Digest: digest.FromString(plain), Size: int64(len(plain))}
	r, finish, err := ocicrypt.EncryptLayer(keys, strings.NewReader(plain), d)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	a, err := finish()
	if err != nil {
		t.Fatal(err)
	}
	return types.BlobInfo{MediaType: d.MediaType + "+encrypted", Digest: digest.FromBytes(sealed), Size: int64(len(sealed)), Annotations: a}, sealed
}

func keysOf(t *testing.T, files ...string) *DecryptKeys {
	t.Helper()
	keys, err := DecryptionKeys(files)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestEncryptedLayer(t *testing.T) {
	public, private := pair(t)
	_, others := pair(t)
	l, sealed := encrypted(t, public)
	open := types.BlobInfo{MediaType: imgspec.MediaTypeImageLayerGzip}
	if !Encrypted(l.MediaType) || Encrypted(open.MediaType) || bytes.Contains(sealed, []byte(plain)) {
		t.Error("it is not encrypted")
	}
	right := keysOf(t, others, private) // one of several opens it
	if err := Check([]types.BlobInfo{open, l}, right); err != nil {
		t.Error(err)
	}
	if err := Check([]types.BlobInfo{open}, nil); err != nil {
		t.Error("nothing is encrypted:", err)
	}
	for what, keys := range map[string]*DecryptKeys{"no key": nil, "another key": keysOf(t, others)} {
		if err := Check([]types.BlobInfo{open, l}, keys); !errs.Is(err, errs.Denied) || !strings.Contains(errs.HintOf(err), "--decryption-key") {
			t.Errorf("%s: %v", what, err)
		}
	}
	r, err := Decrypt(bytes.NewReader(sealed), l, right)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != plain {
		t.Errorf("%q %v", text, err)
	}
	if _, err := Decrypt(bytes.NewReader(sealed), l, keysOf(t, others)); !errs.Is(err, errs.Corrupt) {
		t.Error(err)
	}
}

// What was changed on the way does not come out.
func TestTampered(t *testing.T) {
	public, private := pair(t)
	l, sealed := encrypted(t, public)
	sealed[3] ^= 1
	r, err := Decrypt(bytes.NewReader(sealed), l, keysOf(t, private))
	if err == nil {
		_, err = io.ReadAll(r)
	}
	if err == nil {
		t.Error("a changed layer was decrypted")
	}
	l.Annotations = map[string]string{"org.opencontainers.image.enc.keys.jwe": "!"}
	if err := Check([]types.BlobInfo{l}, keysOf(t, private)); !errs.Is(err, errs.Denied) {
		t.Error(err)
	}
}

func TestBadKeys(t *testing.T) {
	public, _ := pair(t)
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]errs.Kind{junk + "-none": errs.NotFound, junk: errs.Invalid, public: errs.Invalid} {
		if _, err := DecryptionKeys([]string{key}); !errs.Is(err, want) || errs.HintOf(err) == "" && want == errs.Invalid {
			t.Errorf("decrypt with %s: %v", filepath.Base(key), err)
		}
	}
	for key, want := range map[string]errs.Kind{
		"jwe:" + junk + "-none": errs.NotFound, "jwe:" + junk: errs.Invalid, "wrong:" + public: errs.Invalid, public: errs.Invalid,
	} {
		if _, err := EncryptionKeys([]string{key}); !errs.Is(err, want) {
			t.Errorf("encrypt for %s: %v", key, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := EncryptionKeys([]string{"pgp:me@example"}); !errs.Is(err, errs.Unsupported) {
		t.Error(err)
	}
}
