// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/dirs"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/test/wild"
)

// artifactsBeside are artifacts in the directories of s.
func artifactsBeside(s *Store) *Artifacts {
	dir := filepath.Dir(filepath.Dir(s.root))
	return OpenArtifacts(dirs.Dirs{Data: filepath.Join(dir, "data"), Run: filepath.Join(dir, "run")})
}

// What is copied by the library is no longer than the manifest says: it ends
// there, not when the disk is full.
func TestHostileBlobLength(t *testing.T) {
	const sends = 64 << 20
	for name, copied := range map[string]func(s *Store, g *wild.Registry) error{
		"artifact": func(s *Store, g *wild.Registry) error {
			_, err := artifactsBeside(s).Pull(context.Background(), g.Host()+"/bad/image", fast(0), nil)
			return err
		},
		"manifest push": func(s *Store, g *wild.Registry) error {
			ctx := context.Background()
			to := newRegistry(t)
			ref := "docker://" + g.Host() + "/bad/image"
			if _, err := s.ManifestCreate(ctx, "list", ListCreation{Refs: []string{ref}, Remote: fast(0)}); err != nil {
				t.Fatal(err)
			}
			ro := fast(0)
			insecure := false
			ro.TLSVerify = &insecure
			_, err := s.ManifestPush(ctx, "list", ManifestPushOptions{RemoteOptions: ro, Destination: hostOf(to) + "/me/list:1"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, g := wildStore(t)
			c := craft(g, tarOf(t, file("a", "b")))
			c.serve(t, g)
			var sent atomic.Int64
			g.SetBefore(on(c.man.Layers[0].Digest.String(), func(w http.ResponseWriter, _ *http.Request) {
				junk := []byte(strings.Repeat("x", 64<<10))
				for sent.Load() < sends {
					n, err := w.Write(junk)
					sent.Add(int64(n))
					if err != nil {
						return
					}
				}
			}))
			err := copied(s, g)
			t.Log(sent.Load(), err)
			if !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), "longer than") {
				t.Errorf("got %v (%v)", err, errs.KindOf(err))
			}
			if sent.Load() >= sends {
				t.Error("it was read to its end")
			}
		})
	}
}

// Nor are parts of it asked for at an address that the manifest names.
func TestCopiedPartsFromElsewhere(t *testing.T) {
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	}))
	defer other.Close()
	s, g := wildStore(t)
	ctx := context.Background()
	c := craft(g, tarOf(t, file("a", "b")))
	c.serve(t, g)
	elsewhere := []string{other.URL + "/internal"}
	c.man.Config.URLs, c.man.Layers[0].URLs = elsewhere, elsewhere
	c.serve(t, g)
	a := artifactsBeside(s)
	if _, err := a.Pull(ctx, g.Host()+"/bad/image", fast(0), nil); err != nil {
		t.Errorf("artifact: %v", err)
	}
	// Its name leads to a registry that takes it.
	to := newRegistry(t)
	g.SetBefore(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			return false
		}
		to.Config.Handler.ServeHTTP(w, r)
		return true
	})
	if _, err := a.Push(ctx, g.Host()+"/bad/image", fast(0), nil); err != nil {
		t.Errorf("artifact push: %v", err)
	}
	if _, err := s.ManifestCreate(ctx, "list", ListCreation{Refs: []string{"docker://" + g.Host() + "/bad/image"}, Remote: fast(0)}); err != nil {
		t.Fatal(err)
	}
	ro := fast(0)
	insecure := false
	ro.TLSVerify = &insecure
	if _, err := s.ManifestPush(ctx, "list", ManifestPushOptions{RemoteOptions: ro, Destination: hostOf(newRegistry(t)) + "/me/list:1"}); err != nil {
		t.Errorf("manifest push: %v", err)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the other server was asked %d times", n)
	}
}

// A manifest must say how long its blobs are.
func TestBlobWithoutLength(t *testing.T) {
	s, g := wildStore(t)
	c := craft(g, tarOf(t, file("a", "b")))
	c.man.Layers = append(c.man.Layers, imgspec.Descriptor{MediaType: gzLayer, Digest: digest.FromString("x"), Size: -1})
	c.serve(t, g)
	if _, err := artifactsBeside(s).Pull(context.Background(), g.Host()+"/bad/image", fast(0), nil); !errs.Is(err, errs.Corrupt) {
		t.Errorf("got %v (%v)", err, errs.KindOf(err))
	}
}
