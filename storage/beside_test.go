// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// An image goes while another one that shares its lowest layer is on its way: the
// pull had counted on that layer.
func TestPullBesideRemove(t *testing.T) {
	ctx := context.Background()
	shared := tarOf(t, file("shared", noise(4<<10)))
	old := imageOf(t, shared)
	top := tarOf(t, file("top", noise(8<<10)))
	img := imageOf(t, shared, top)
	ls, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	own, err := ls[1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	var onTop func()
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, own.String()) {
			onTop()
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	push(t, hostOf(srv), "library/old:latest", old)
	push(t, hostOf(srv), "library/new:latest", img)
	s := newStore(t, hostOf(srv))
	if _, err := s.Pull(ctx, "old", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	onTop = sync.OnceFunc(func() {
		other := child(s, "rmi old") // another process
		if err := other.Run(); err != nil {
			t.Error(err)
		}
	})
	got, err := s.Pull(ctx, "new", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Layers) != 2 {
		t.Errorf("%d layers", len(got.Layers))
	}
	if _, err := s.Resolve("old"); err == nil {
		t.Error("the other image is still there")
	}
	checkClean(t, s)
}
