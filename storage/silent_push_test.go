// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/sign"
	"github.com/proa-containers/proa/test/wild"
)

// Nobody waits for ever for a registry that takes a manifest and says nothing.
func TestSilentTargets(t *testing.T) {
	f := front(t, newRegistry(t), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			wild.Hang(w)
			return true
		}
		return false
	})
	t.Cleanup(f.CloseClientConnections)
	s := newStore(t, hostOf(f))
	quick(t, 50*time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := s.ManifestCreate(ctx, "list", ListCreation{}); err != nil {
		t.Fatal(err)
	}
	_, list := s.ManifestPush(ctx, "list", ManifestPushOptions{RemoteOptions: fast(0), Destination: hostOf(f) + "/me/list"})
	cache := s.WriteCache(ctx, CacheRef{Name: hostOf(f) + "/me/cache", Remote: fast(0)}, "application/json", nil, func([]CacheBlob) ([]byte, error) { return []byte("{}"), nil })
	for what, err := range map[string]error{"list": list, "cache": cache} {
		if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "sent nothing for") {
			t.Errorf("%s: %v (%v)", what, err, errs.KindOf(err))
		}
	}
}

// signedList is a store with an empty list, whose push to host would be signed.
func signedList(t *testing.T, host string) (*Store, ManifestPushOptions) {
	t.Helper()
	s := newStore(t, host)
	private, _, err := sign.GenerateSigstoreKey("")
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	conf := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "containers/registries.d")
	if err := errors.Join(os.WriteFile(key, private, 0o600), os.MkdirAll(conf, 0o700),
		os.WriteFile(filepath.Join(conf, "x.yaml"), []byte("default-docker: {use-sigstore-attachments: true}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ManifestCreate(context.Background(), "list", ListCreation{}); err != nil {
		t.Fatal(err)
	}
	return s, ManifestPushOptions{RemoteOptions: fast(0), Destination: host + "/me/list", Sign: sign.Options{SigstoreKey: key}}
}

// Nobody waits for ever for a registry that takes a list and says nothing when
// it is to be signed.
func TestSilentSigning(t *testing.T) {
	f := front(t, newRegistry(t), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/sha256:") {
			wild.Hang(w)
			return true
		}
		return false
	})
	t.Cleanup(f.CloseClientConnections)
	s, o := signedList(t, hostOf(f))
	quick(t, 50*time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := s.ManifestPush(ctx, "list", o); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "sent nothing for") {
		t.Errorf("%v (%v)", err, errs.KindOf(err))
	}
}

// A registry that shows another list than the one that was sent gets no
// signature.
func TestSwappedBeforeSigning(t *testing.T) {
	swap := true
	var sent []string
	f := front(t, newRegistry(t), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			sent = append(sent, path.Base(r.URL.Path))
		}
		if !swap || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/manifests/sha256:") {
			return false
		}
		w.Header().Set("Content-Type", imgspec.MediaTypeImageIndex)
		_, _ = io.WriteString(w, `{"schemaVersion":2,"mediaType":"`+imgspec.MediaTypeImageIndex+`","manifests":[],"annotations":{"is":"another"}}`)
		return true
	})
	s, o := signedList(t, hostOf(f))
	signatures := func() (n int) {
		for _, name := range sent {
			if strings.HasSuffix(name, ".sig") {
				n++
			}
		}
		return n
	}
	if _, err := s.ManifestPush(context.Background(), "list", o); err == nil || signatures() > 0 {
		t.Errorf("%v, sent %q", err, sent)
	}
	swap = false // the registry being honest, it works
	if _, err := s.ManifestPush(context.Background(), "list", o); err != nil || signatures() != 1 {
		t.Errorf("%v, sent %q", err, sent)
	}
}
