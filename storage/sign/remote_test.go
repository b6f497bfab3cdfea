// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/pkg/sysregistriesv2"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/registry"
	"github.com/proa-containers/proa/test/wild"
)

// listed serves a list of one image under NAME, and returns the digests.
func listed(t *testing.T, g *wild.Registry, name, comment string) (list, image digest.Digest) {
	t.Helper()
	man := []byte(`{"schemaVersion":2,"mediaType":"` + imgspec.MediaTypeImageManifest + `","comment":"` + comment + `"}`)
	repo, _, _ := strings.Cut(name, ":")
	image = g.Manifest(repo+":image-"+comment, imgspec.MediaTypeImageManifest, man)
	ix := imgspec.Index{MediaType: imgspec.MediaTypeImageIndex, Manifests: []imgspec.Descriptor{{
		MediaType: imgspec.MediaTypeImageManifest, Digest: image, Size: int64(len(man)), Platform: &imgspec.Platform{OS: "linux", Architecture: "amd64"},
	}}}
	ix.SchemaVersion = 2
	raw, err := json.Marshal(ix)
	if err != nil {
		t.Fatal(err)
	}
	return g.Manifest(name, imgspec.MediaTypeImageIndex, raw), image
}

// wildRegistry is a registry that registries.conf lets be without TLS.
func wildRegistry(t *testing.T) (*wild.Registry, string) {
	t.Helper()
	g := wild.New()
	srv, host := g.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	dir := t.TempDir()
	conf := filepath.Join(dir, "registries.conf")
	if err := os.WriteFile(conf, []byte("[[registry]]\nlocation = \""+host+"\"\ninsecure = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_REGISTRIES_CONF", conf)
	t.Setenv("HOME", dir)
	sysregistriesv2.InvalidateCache()
	return g, host
}

// A registry that shows another list at every request gets no signature of what
// was not read: the list, and the images that the list names.
func TestSignedIsWhatWasRead(t *testing.T) {
	home := t.TempDir()
	t.Setenv("GNUPGHOME", home)
	if out, err := exec.Command("gpg", "-q", "--batch", "--passphrase", "", "--quick-gen-key", "me@example.com", "ed25519", "sign", "never").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", home, "--kill", "gpg-agent").Run() })
	g, host := wildRegistry(t)
	shown, inShown := listed(t, g, "me/app:1", "shown")
	swapped, inSwapped := listed(t, g, "me/app:2", "swapped")
	tag := "/v2/me/app/manifests/1"
	g.SetBefore(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == tag && g.Requests(tag) > 1 || strings.HasSuffix(r.URL.Path, shown.String()) {
			r.URL.Path = "/v2/me/app/manifests/2"
		}
		return false
	})
	dir := t.TempDir()
	name := host + "/me/app:1"
	s, err := NewGPGSigner(context.Background(), Options{GPGKey: "me@example.com"}, dir, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignRemote(context.Background(), name, true, registry.RemoteOptions{}); err != nil {
		t.Fatal(err)
	}
	for d, want := range map[digest.Digest]bool{shown: true, inShown: true, swapped: false, inSwapped: false} {
		_, err := os.Stat(filepath.Join(dir, "me/app@sha256="+d.Encoded(), "signature-1"))
		if (err == nil) != want {
			t.Errorf("a signature of %s: %v, want %v", d, err, want)
		}
	}
	// An image that is not the one of the list is signed neither.
	g.SetBefore(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, inShown.String()) {
			r.URL.Path = "/v2/me/app/manifests/" + inSwapped.String()
		}
		return false
	})
	if list, err := s.SignRemote(context.Background(), name, true, registry.RemoteOptions{}); err == nil || len(list) > 0 {
		t.Errorf("%v %v", list, err)
	}
}

// Nobody waits for ever for an image of the list.
func TestSignRemoteSilence(t *testing.T) {
	t.Setenv("PROA_REGISTRY_SILENCE", "50ms")
	g, host := wildRegistry(t)
	_, image := listed(t, g, "me/app:1", "x")
	g.SetBefore(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, image.String()) {
			wild.Hang(w)
			return true
		}
		return false
	})
	s := &GPGSigner{sys: &types.SystemContext{}, dir: t.TempDir()}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := s.SignRemote(ctx, host+"/me/app:1", true, registry.RemoteOptions{Retry: new(int)})
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "sent nothing for 50ms") {
		t.Errorf("%v (%v)", err, errs.KindOf(err))
	}
}
