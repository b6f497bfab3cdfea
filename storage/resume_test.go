// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"math/rand"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/failpoint"
	"github.com/proa-containers/proa/storage/registry"
	"github.com/proa-containers/proa/test/wild"
)

// wildStore is a store that knows a registry that misbehaves.
func wildStore(t testing.TB) (*Store, *wild.Registry) {
	g := wild.New()
	srv, host := g.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections) // first: a stalled answer would hold Close
	return newStore(t, host), g
}

// noise does not compress.
func noise(n int) string {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return string(b)
}

func layerOf(t testing.TB, img v1.Image, i int) (d string, size int64) {
	t.Helper()
	ls, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	h, err := ls[i].Digest()
	if err != nil {
		t.Fatal(err)
	}
	if size, err = ls[i].Size(); err != nil {
		t.Fatal(err)
	}
	return h.String(), size
}

// quick shortens what a server may be silent.
func quick(t testing.TB, d time.Duration) {
	t.Setenv("PROA_REGISTRY_SILENCE", d.String())
}

func fast(n int) registry.RemoteOptions {
	return registry.RemoteOptions{Retry: &n, RetryDelay: 5 * time.Millisecond}
}

func TestPullGoesOnWhereItWasCut(t *testing.T) {
	const step = 700 << 10
	img := imageOf(t, alpine(t)[0], tarOf(t, file("big", noise(6<<20))))
	big, size := layerOf(t, img, 1)
	for name, spoil := range map[string]func(w http.ResponseWriter) http.ResponseWriter{
		"cut": func(w http.ResponseWriter) http.ResponseWriter { return wild.Cut(w, step) },
		"stall": func(w http.ResponseWriter) http.ResponseWriter {
			return wild.Stall(w, step)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, g := wildStore(t)
			quick(t, 500*time.Millisecond)
			if err := g.Add("library/alpine:latest", img); err != nil {
				t.Fatal(err)
			}
			var cuts atomic.Int32
			g.SetAround(func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
				if strings.HasSuffix(r.URL.Path, big) {
					cuts.Add(1)
					return spoil(w)
				}
				return w
			})
			got, err := s.Pull(context.Background(), "alpine", PullOptions{RemoteOptions: fast(3)})
			if err != nil {
				t.Fatal(err)
			}
			checkID(t, img, got)
			if n := cuts.Load(); n < 6 {
				t.Errorf("%d requests for the layer, so it was cut too seldom", n)
			}
			// What a cut connection still had on its way is sent again.
			if sent := g.Sent(big); sent > size+size/4 {
				t.Errorf("%d bytes were sent of a layer of %d", sent, size)
			}
		})
	}
}

func checkID(t *testing.T, img v1.Image, got *Image) {
	t.Helper()
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != id.Hex {
		t.Errorf("pulled %s, want %s", got.ID, id.Hex)
	}
}

func TestPullFromAServerWithoutRanges(t *testing.T) {
	img := imageOf(t, tarOf(t, file("big", noise(3<<20))))
	big, size := layerOf(t, img, 0)
	s, g := wildStore(t)
	g.NoRanges = true
	if err := g.Add("library/alpine:latest", img); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	g.SetAround(func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
		if strings.HasSuffix(r.URL.Path, big) && n.Add(1) <= 2 {
			return wild.Cut(w, 2<<20)
		}
		return w
	})
	got, err := s.Pull(context.Background(), "alpine", PullOptions{RemoteOptions: fast(3)})
	if err != nil {
		t.Fatal(err)
	}
	checkID(t, img, got)
	if sent := g.Sent(big); sent < size+2<<20 {
		t.Errorf("only %d bytes were sent: the layer was not sent again", sent)
	}
}

// A server that answers a range with other bytes must not get them in.
func TestPullVerifiesResumedLayers(t *testing.T) {
	img := imageOf(t, tarOf(t, file("big", noise(3<<20))))
	big, _ := layerOf(t, img, 0)
	s, g := wildStore(t)
	if err := g.Add("library/alpine:latest", img); err != nil {
		t.Fatal(err)
	}
	g.SetAround(func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
		if strings.HasSuffix(r.URL.Path, big) {
			if r.Header.Get("Range") != "" {
				r.Header.Set("Range", "bytes=5-")
			}
			return wild.Cut(w, 1<<20)
		}
		return w
	})
	_, err := s.Pull(context.Background(), "alpine", PullOptions{RemoteOptions: fast(3)})
	if !errs.Is(err, errs.Corrupt) && !errs.Is(err, errs.Unavailable) {
		t.Errorf("got %v (%v)", err, errs.KindOf(err))
	}
	noLeftovers(t, s)
}

// A server that never gets anywhere is given up.
func TestPullGivesUp(t *testing.T) {
	img := imageOf(t, tarOf(t, file("big", noise(1<<20))))
	big, _ := layerOf(t, img, 0)
	for name, spoil := range map[string]func(w http.ResponseWriter) http.ResponseWriter{
		"cut":   func(w http.ResponseWriter) http.ResponseWriter { return wild.Cut(w, 100) },
		"stall": func(w http.ResponseWriter) http.ResponseWriter { return wild.Stall(w, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			s, g := wildStore(t)
			quick(t, 200*time.Millisecond)
			if err := g.Add("library/alpine:latest", img); err != nil {
				t.Fatal(err)
			}
			g.SetAround(func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
				if strings.HasSuffix(r.URL.Path, big) {
					return spoil(w)
				}
				return w
			})
			_, err := s.Pull(context.Background(), "alpine", PullOptions{RemoteOptions: fast(2)})
			if !errs.Is(err, errs.Unavailable) {
				t.Errorf("got %v (%v)", err, errs.KindOf(err))
			}
			if n := g.Requests("/v2/library/alpine/blobs/" + big); n > 6 {
				t.Errorf("asked %d times", n)
			}
			noLeftovers(t, s)
		})
	}
}

// What a killed pull had finished is not fetched again.
func TestKilledPullIsResumedByLayers(t *testing.T) {
	img := imageOf(t, alpine(t)[0], tarOf(t, file("big", noise(1<<20))))
	s, g := wildStore(t)
	if err := g.Add("library/alpine:latest", img); err != nil {
		t.Fatal(err)
	}
	err := child(s, "alpine", failpoint.Env+"="+FailpointPullLayers+"=kill").Run()
	var ee *exec.ExitError
	if !errors.As(err, &ee) || ee.ExitCode() != -1 {
		t.Fatalf("the child was not killed: %v", err)
	}
	got, err := s.Pull(context.Background(), "alpine", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkID(t, img, got)
	for i := range 2 {
		d, size := layerOf(t, img, i)
		if sent := g.Sent(d); sent != size {
			t.Errorf("layer %d of %d bytes: %d were sent", i, size, sent)
		}
	}
	if ents, _ := os.ReadDir(s.opsDir()); len(ents) > 2 {
		t.Errorf("left in ops: %v", ents)
	}
}
