// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"go.podman.io/image/v5/signature"

	"github.com/proa-containers/proa/pkg/errs"
)

// signing is a mechanism with a key in memory.
type signing struct{ key *openpgp.Entity }

func (signing) Close() error           { return nil }
func (signing) SupportsSigning() error { return nil }

func (s signing) Sign(input []byte, _ string) ([]byte, error) {
	var b bytes.Buffer
	w, err := openpgp.Sign(&b, s.key, nil, nil)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(input)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

func (signing) Verify([]byte) ([]byte, string, error) { return nil, "", errors.ErrUnsupported }
func (signing) UntrustedSignatureContents([]byte) ([]byte, string, error) {
	return nil, "", errors.ErrUnsupported
}

// TestPutSignature: whoever signs at the same time, each key and name has one
// signature, and there is no gap, where readers would stop.
func TestPutSignature(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sigs/me/app@sha256=00")
	var keys []signing
	for i := range 3 {
		k, err := openpgp.NewEntity(fmt.Sprint("key ", i), "", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, signing{k})
	}
	names := []string{"registry.example.com/me/app:1", "registry.example.com/me/app:2"}
	var wg sync.WaitGroup
	for range 3 {
		for _, k := range keys {
			for _, name := range names {
				wg.Go(func() {
					sig, err := signature.SignDockerManifestWithOptions([]byte(`{"schemaVersion":2}`), name, k, "", nil)
					if err == nil {
						_, err = putSignature(dir, sig)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	wg.Wait()
	seen := map[string]bool{}
	for i := 1; i <= len(keys)*len(names); i++ {
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("signature-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		info, err := signature.GetUntrustedSignatureInformationWithoutVerifying(data)
		if err != nil {
			t.Fatal(err)
		}
		seen[info.UntrustedShortKeyIdentifier+info.UntrustedDockerReference] = true
	}
	if entries, _ := os.ReadDir(dir); len(entries) != len(seen) || len(seen) != len(keys)*len(names) {
		t.Errorf("%d files, %d signers", len(entries), len(seen))
	}
	// What is no signature stays where it is.
	if err := os.WriteFile(filepath.Join(dir, "signature-1"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	sig, err := keys[0].Sign([]byte("no payload"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := putSignature(dir, sig); err == nil {
		t.Error("accepted a signature of something else")
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "signature-1")); string(data) != "other" {
		t.Errorf("signature-1 is now %q", data)
	}
}

func TestSigstoreParams(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]errs.Kind{
		"privateKeyFile: /k\nprivateKeyPassphraseFile: /p\n":        -1,
		"rekorURL: https://rekor.example.com\nprivateKeyFile: /k\n": errs.Unsupported,
		"fulcio: {fulcioURL: https://fulcio.example.com}\n":         errs.Unsupported,
		"privateKeyPassphraseFile: /p\n":                            errs.Invalid,
		"unknown: 1\n":                                              errs.Invalid,
	} {
		path := filepath.Join(dir, "params.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		key, pass, err := SigstoreParams(path)
		if want < 0 && (err != nil || key != "/k" || pass != "/p") || want >= 0 && !errs.Is(err, want) {
			t.Errorf("%q: %q %q %v", text, key, pass, err)
		}
	}
}
