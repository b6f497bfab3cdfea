// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/registry"
	"github.com/proa-containers/proa/test/wild"
)

const (
	ociManifest = imgspec.MediaTypeImageManifest
	ociIndex    = imgspec.MediaTypeImageIndex
	gzLayer     = imgspec.MediaTypeImageLayerGzip
)

// crafted is an image that no honest tool would make.
type crafted struct {
	config []byte // nil: fitting the layers
	diffs  []digest.Digest
	man    imgspec.Manifest
}

func craft(g *wild.Registry, layers ...[]byte) *crafted {
	c := &crafted{}
	c.man.SchemaVersion, c.man.MediaType = 2, ociManifest
	for _, l := range layers {
		b := gz(l)
		c.man.Layers = append(c.man.Layers, imgspec.Descriptor{MediaType: gzLayer, Digest: g.Blob(b), Size: int64(len(b))})
		c.diffs = append(c.diffs, digest.FromBytes(l))
	}
	return c
}

// serve puts the image into the registry as bad/image:latest.
func (c *crafted) serve(t testing.TB, g *wild.Registry) {
	t.Helper()
	if c.config == nil {
		c.config, _ = json.Marshal(imgspec.Image{
			Platform: imgspec.Platform{OS: "linux", Architecture: runtime.GOARCH},
			RootFS:   imgspec.RootFS{Type: "layers", DiffIDs: c.diffs},
		})
	}
	if c.man.Config.Digest == "" {
		c.man.Config = imgspec.Descriptor{MediaType: imgspec.MediaTypeImageConfig, Digest: g.Blob(c.config), Size: int64(len(c.config))}
	}
	raw, err := json.Marshal(c.man)
	if err != nil {
		t.Fatal(err)
	}
	g.Manifest("bad/image:latest", ociManifest, raw)
}

// on answers requests for paths with the given part.
func on(part string, do func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		do(w, r)
		return true
	}
}

// endless writes JSON that never ends.
func endless(status int, mime, head string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mime)
		w.WriteHeader(status)
		_, err := io.WriteString(w, head)
		more := []byte(strings.Repeat(`"aaaaaaaa",`, 3000))
		for err == nil {
			_, err = w.Write(more)
		}
	}
}

func status(code int, header ...string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// hostile are registries that must be refused with a sentence, and nothing left.
var hostile = map[string]struct {
	set  func(t *testing.T, g *wild.Registry)
	kind errs.Kind
	says string
}{
	"says nothing":                {spoil("/manifests/", func(w http.ResponseWriter, _ *http.Request) { wild.Hang(w) }), errs.Unavailable, "sent nothing for"},
	"says nothing at all":         {spoil("/v2/", func(w http.ResponseWriter, _ *http.Request) { wild.Hang(w) }), errs.Unavailable, "sent nothing for"},
	"says nothing for a layer":    {spoil("/blobs/", func(w http.ResponseWriter, _ *http.Request) { wild.Hang(w) }), errs.Unavailable, "sent nothing for"},
	"stops within the manifest":   {around("/manifests/", func(w http.ResponseWriter) http.ResponseWriter { return wild.Stall(w, 10) }), errs.Unavailable, "sent nothing for"},
	"hangs up within it":          {around("/manifests/", func(w http.ResponseWriter) http.ResponseWriter { return wild.Cut(w, 10) }), errs.Unavailable, "cannot reach"},
	"hangs up":                    {spoil("/manifests/", func(w http.ResponseWriter, _ *http.Request) { wild.HangUp(w) }), errs.Unavailable, "cannot reach"},
	"internal error":              {spoil("/manifests/", status(500)), errs.Unavailable, "500"},
	"bad gateway for layers":      {spoil("/blobs/", status(502)), errs.Unavailable, "502"},
	"service unavailable":         {spoil("/v2/", status(503)), errs.Unavailable, "503"},
	"too many requests":           {spoil("/manifests/", status(429, "Retry-After", "0")), errs.Unavailable, "limits the rate"},
	"too many requests of layers": {spoil("/blobs/", status(429, "Retry-After", "0")), errs.Unavailable, "limits the rate"},
	"redirects in a circle": {spoil("/manifests/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	}), errs.Unavailable,
		"stopped after 10 redirects"},
	"endless manifest":          {spoil("/manifests/", endless(200, ociManifest, `{"layers":[`)), errs.Invalid, ""},
	"endless index":             {spoil("/manifests/", endless(200, ociIndex, `{"manifests":[`)), errs.Invalid, ""},
	"endless error":             {spoil("/manifests/", endless(404, "application/json", `{"errors":[`)), errs.Invalid, "longer than"},
	"endless error for a layer": {spoil("/blobs/", endless(404, "application/json", `{"errors":[`)), errs.Invalid, "longer than"},
	"endless token": {func(_ *testing.T, g *wild.Registry) {
		g.SetBefore(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				endless(200, "application/json", `{"token":[`)(w, r)
			} else {
				status(401, "WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x"`)(w, r)
			}
			return true
		})
	}, errs.Invalid, ""},
	"token of garbage": {func(_ *testing.T, g *wild.Registry) {
		g.SetBefore(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				_, _ = io.WriteString(w, "<html>\nwelcome\n</html>")
			} else {
				status(401, "WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x"`)(w, r)
			}
			return true
		})
	}, errs.Unavailable, "token"},
	"endless configuration": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, nil)
		c.man.Config = imgspec.Descriptor{MediaType: imgspec.MediaTypeImageConfig, Digest: digest.FromString("x"), Size: 1000}
		c.serve(t, g)
		g.SetBefore(on("/blobs/", endless(200, "application/json", `{"x":[`)))
	}, errs.Corrupt, "longer than the 1000 bytes"},
	"configuration of 4 GB": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, nil)
		c.man.Config = imgspec.Descriptor{MediaType: imgspec.MediaTypeImageConfig, Digest: digest.FromString("x"), Size: 4 << 30}
		c.serve(t, g)
	}, errs.Invalid, "4294967296 bytes"},
	"no JSON": {func(_ *testing.T, g *wild.Registry) {
		g.Manifest("bad/image:latest", ociManifest, []byte("<html>\n</html>"))
	}, errs.Corrupt, ""},
	"a web page": {func(_ *testing.T, g *wild.Registry) {
		g.Manifest("bad/image:latest", "text/html", []byte("<html>\n</html>"))
	}, errs.Corrupt, ""},
	"no manifest": {func(_ *testing.T, g *wild.Registry) { g.Manifest("bad/image:latest", ociManifest, []byte(`{}`)) }, errs.Corrupt, ""},
	"nothing":     {func(_ *testing.T, g *wild.Registry) { g.Manifest("bad/image:latest", ociManifest, nil) }, errs.Corrupt, ""},
	"schema 1": {func(_ *testing.T, g *wild.Registry) {
		g.Manifest("bad/image:latest", "application/vnd.docker.distribution.manifest.v1+json", []byte(`{"schemaVersion":1,"name":"x","tag":"y"}`))
	}, errs.Unsupported, "schema 1"},
	"configuration is no JSON": {func(t *testing.T, g *wild.Registry) { c := craft(g); c.config = []byte("\x00\x01{"); c.serve(t, g) }, errs.Corrupt, "configuration"},
	"other configuration": {func(t *testing.T, g *wild.Registry) {
		c := craft(g)
		c.serve(t, g)
		g.BlobAs(c.man.Config.Digest.String(), []byte(`{"os":"linux","rootfs":{},"x":"` + strings.Repeat("y", len(c.config)) + `"}`)[:len(c.config)])
	}, errs.Corrupt, "has the digest"},
	"configuration of another size": {func(t *testing.T, g *wild.Registry) {
		c := craft(g)
		c.serve(t, g)
		c.man.Config.Size++
		c.serve(t, g)
	}, errs.Corrupt, "ends after"},
	"layer shorter than told": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, tarOf(t, file("a", "b")))
		c.man.Layers[0].Size++
		c.serve(t, g)
	}, errs.Corrupt, "ends after"},
	"layer longer than told": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, tarOf(t, file("a", "b")))
		c.man.Layers[0].Size--
		c.serve(t, g)
	}, errs.Corrupt, "longer than"},
	"layer of negative size": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, tarOf(t, file("a", "b")))
		c.man.Layers[0].Size = -7
		c.serve(t, g)
	}, errs.Corrupt, ""},
	"second layer is another": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, tarOf(t, file("a", "b")), tarOf(t, file("c", "d")))
		c.serve(t, g)
		g.BlobAs(c.man.Layers[1].Digest.String(), gz(tarOf(t, file("c", "x"))))
	}, errs.Corrupt, ""},
	"layer unpacks to something else": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, tarOf(t, file("a", "b")))
		c.diffs[0] = digest.FromString("other")
		c.serve(t, g)
	}, errs.Corrupt, "unpacks to"},
	"more layers than the configuration": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, tarOf(t, file("a", "b")), tarOf(t, file("c", "d")))
		c.diffs = c.diffs[:1]
		c.serve(t, g)
	}, errs.Corrupt, "names 2 layers"},
	"a layer that is not there": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, tarOf(t, file("a", "b")))
		c.man.Layers[0].Digest = digest.FromString("missing")
		c.serve(t, g)
	}, errs.NotFound, ""},
	"5000 layers": {func(t *testing.T, g *wild.Registry) {
		c := craft(g)
		l := gz(tarOf(t, file("a", "b")))
		for range 5000 {
			c.man.Layers = append(c.man.Layers, imgspec.Descriptor{MediaType: gzLayer, Digest: g.Blob(l), Size: int64(len(l))})
		}
		c.serve(t, g)
	}, errs.Invalid, "5000 layers"},
	"md5": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, tarOf(t, file("a", "b")))
		c.man.Layers[0].Digest = "md5:d41d8cd98f00b204e9800998ecf8427e"
		c.serve(t, g)
	}, errs.Corrupt, "digest"},
	"a path as digest": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, tarOf(t, file("a", "b")))
		c.man.Layers[0].Digest = "sha256:../../../etc/passwd"
		c.serve(t, g)
	}, errs.Corrupt, "digest"},
	"index of an index": {func(_ *testing.T, g *wild.Registry) {
		inner := g.Manifest("bad/inner:1", ociIndex, indexOf(digest.FromString("x"), ociManifest))
		raw := indexOf(inner, ociIndex)
		g.Manifest("bad/image@"+inner.String(), ociIndex, indexOf(digest.FromString("x"), ociManifest))
		g.Manifest("bad/image:latest", ociIndex, raw)
	}, errs.Unsupported, "names another index"},
	"index that leads to itself": {func(_ *testing.T, g *wild.Registry) {
		d := digest.FromString("self")
		raw := indexOf(d, ociIndex)
		g.Manifest("bad/image:latest", ociIndex, raw)
		g.SetBefore(on("/manifests/"+d.String(), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ociIndex)
			_, _ = w.Write(raw)
		}))
	}, errs.Corrupt, "digest"},
	"index without this platform": {func(_ *testing.T, g *wild.Registry) {
		g.Manifest("bad/image:latest", ociIndex, []byte(`{"schemaVersion":2,"manifests":[]}`))
	}, errs.NotFound, "no matching manifest"},
	"layer is no archive": {func(t *testing.T, g *wild.Registry) { craft(g, []byte(strings.Repeat("no tar", 1000))).serve(t, g) }, errs.Corrupt, "not a valid tar archive"},
	"layer is no gzip": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, tarOf(t, file("a", "b")))
		b := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0}, strings.Repeat("x", 1000)...)
		c.man.Layers[0].Digest, c.man.Layers[0].Size = g.Blob(b), int64(len(b))
		c.serve(t, g)
	}, errs.Corrupt, "cannot decompress"},
	"zstd with a window of 2 GB": {func(t *testing.T, g *wild.Registry) {
		c := craft(g, tarOf(t, file("a", "b")))
		// Magic, no single segment, exponent 21: 1 KiB << 21; then a raw block.
		b := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x21, 0x00, 0x00}, "abcd"...)
		c.man.Layers[0].Digest, c.man.Layers[0].Size = g.Blob(b), int64(len(b))
		c.man.Layers[0].MediaType = imgspec.MediaTypeImageLayerZstd
		c.serve(t, g)
	}, errs.Corrupt, "cannot decompress"},
	"long names": {func(t *testing.T, g *wild.Registry) {
		craft(g, tarOf(t, file(strings.Repeat("d/", 3000)+"f", "x"))).serve(t, g)
	}, errs.Invalid, "name"},
}

func indexOf(d digest.Digest, mime string) []byte {
	raw, _ := json.Marshal(imgspec.Index{MediaType: ociIndex, Manifests: []imgspec.Descriptor{{
		MediaType: mime, Digest: d, Size: 100, Platform: &imgspec.Platform{OS: "linux", Architecture: runtime.GOARCH},
	}}})
	return bytes.Replace(raw, []byte(`"schemaVersion":0`), []byte(`"schemaVersion":2`), 1)
}

// spoil serves a good image and answers some requests otherwise.
func spoil(part string, do func(w http.ResponseWriter, r *http.Request)) func(*testing.T, *wild.Registry) {
	return func(t *testing.T, g *wild.Registry) {
		craft(g, tarOf(t, file("a", "b"))).serve(t, g)
		g.SetBefore(on(part, do))
	}
}

func around(part string, do func(http.ResponseWriter) http.ResponseWriter) func(*testing.T, *wild.Registry) {
	return func(t *testing.T, g *wild.Registry) {
		craft(g, tarOf(t, file("a", "b"))).serve(t, g)
		g.SetAround(func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
			if strings.Contains(r.URL.Path, part) {
				return do(w)
			}
			return w
		})
	}
}

func TestHostileRegistries(t *testing.T) {
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			s, g := wildStore(t)
			quick(t, 250*time.Millisecond)
			c.set(t, g)
			began := time.Now()
			_, err := s.Pull(context.Background(), g.Host()+"/bad/image", PullOptions{RemoteOptions: fast(1)})
			t.Log(time.Since(began).Round(time.Millisecond), err)
			if !errs.Is(err, c.kind) {
				t.Errorf("is %v, want %v", errs.KindOf(err), c.kind)
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("does not say %q", c.says)
			}
			if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 500) {
				t.Errorf("is no sentence: %q", err)
			}
			noLeftovers(t, s)
		})
	}
}

// Memory is bounded whatever a registry sends.
func TestHostileMemory(t *testing.T) {
	for _, name := range []string{"endless manifest", "endless error", "endless token", "zstd with a window of 2 GB"} {
		s, g := wildStore(t)
		hostile[name].set(t, g)
		c := child(s, g.Host()+"/bad/image", "GOGC=100")
		c.Stderr = nil
		out, err := c.Output()
		if err == nil {
			t.Errorf("%s: it was pulled", name)
		}
		kib, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			t.Fatal(err)
		}
		t.Log(name, kib>>10, "MiB")
		if kib > 300<<10 && !raceDetector { // which needs several times as much
			t.Errorf("%s: %d KiB of memory", name, kib)
		}
	}
}

func TestAcceptedOddities(t *testing.T) {
	layer := tarOf(t, file("a", "b"))
	for name, set := range map[string]func(g *wild.Registry) *crafted{
		"the same layer twice": func(g *wild.Registry) *crafted { return craft(g, layer, layer) },
		"sha512": func(g *wild.Registry) *crafted {
			c := craft(g, layer)
			sum := sha512.Sum512(gz(layer))
			d := digest.Digest("sha512:" + hex.EncodeToString(sum[:]))
			g.BlobAs(d.String(), gz(layer))
			c.man.Layers[0].Digest = d
			return c
		},
		"a foreign layer that the registry has": func(g *wild.Registry) *crafted {
			c := craft(g, layer)
			//lint:ignore SA1019 old images have such layers
			c.man.Layers[0].MediaType = imgspec.MediaTypeImageLayerNonDistributableGzip
			c.man.Layers[0].URLs = []string{"http://" + g.Host() + "/trap"}
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, g := wildStore(t)
			set(g).serve(t, g)
			if _, err := s.Pull(context.Background(), g.Host()+"/bad/image", PullOptions{}); err != nil {
				t.Error(err)
			}
			if g.Requests("/trap") != 0 {
				t.Error("the address in the manifest was asked")
			}
		})
	}
}

// A list of tags that goes on for ever ends, in pages or in one.
func TestHostileTags(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w http.ResponseWriter, r *http.Request)
		says string
	}{
		"endless": {endless(200, "application/json", `{"tags":[`), "longer than"},
		"pages": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<`+r.URL.Path+`?n=1>; rel="next"`)
			_, _ = io.WriteString(w, `{"tags":[]}`)
		}, "more than 10000 parts"},
	} {
		t.Run(name, func(t *testing.T) {
			s, g := wildStore(t)
			g.SetBefore(on("/tags/list", c.do))
			_, err := s.Pull(context.Background(), g.Host()+"/bad/image", PullOptions{AllTags: true})
			if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("pull: %v", err)
			}
			_, err = registry.Search(context.Background(), g.Host()+"/bad/image", registry.SearchOptions{ListTags: true})
			if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("search: %v", err)
			}
		})
	}
}

// A manifest says where else its parts can be had. Whoever wrote it must not make
// us ask there: it could be a server inside of our network.
func TestPartsFromElsewhere(t *testing.T) {
	asked := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.NotFound(w, r)
	}))
	defer other.Close()
	s, g := wildStore(t)
	c := craft(g, tarOf(t, file("a", "b")))
	c.config, _ = json.Marshal(imgspec.Image{
		Platform: imgspec.Platform{OS: "linux", Architecture: runtime.GOARCH},
		RootFS:   imgspec.RootFS{Type: "layers", DiffIDs: c.diffs},
	})
	elsewhere := []string{other.URL + "/internal"}
	c.man.Config = imgspec.Descriptor{MediaType: imgspec.MediaTypeImageConfig, Digest: g.Blob(c.config), Size: int64(len(c.config)), URLs: elsewhere}
	c.man.Layers[0].URLs = elsewhere
	c.serve(t, g)
	if _, err := s.Pull(context.Background(), g.Host()+"/bad/image", PullOptions{RemoteOptions: fast(0)}); err != nil {
		t.Error(err)
	}
	ctx := context.Background()
	if _, err := s.ManifestCreate(ctx, "list", ListCreation{Refs: []string{"docker://" + g.Host() + "/bad/image"}, Remote: fast(0)}); err != nil {
		t.Error(err)
	}
	if asked != 0 {
		t.Errorf("the other server was asked %d times", asked)
	}
}

// What leads to another host takes no credentials along.
func TestRedirectKeepsCredentials(t *testing.T) {
	var leaked string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked += r.Header.Get("Authorization")
		http.NotFound(w, r)
	}))
	defer other.Close()
	s, g := wildStore(t)
	craft(g, tarOf(t, file("a", "b"))).serve(t, g)
	asked := 0
	g.SetBefore(func(w http.ResponseWriter, r *http.Request) bool {
		if _, _, ok := r.BasicAuth(); !ok {
			status(401, "WWW-Authenticate", `Basic realm="x"`)(w, r)
			return true
		}
		if strings.Contains(r.URL.Path, "/blobs/") {
			asked++
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	o := PullOptions{RemoteOptions: fast(0)}
	o.Creds = "me:secret"
	if _, err := s.Pull(context.Background(), g.Host()+"/bad/image", o); err == nil {
		t.Error("it was pulled")
	}
	if asked == 0 || leaked != "" {
		t.Errorf("asked %d times; the other host got %q", asked, leaked)
	}
}

// Other commands that speak with a registry do not wait for ever either.
func TestSilentRegistry(t *testing.T) {
	s, g := wildStore(t)
	quick(t, 200*time.Millisecond)
	g.SetBefore(on("/", func(w http.ResponseWriter, _ *http.Request) { wild.Hang(w) }))
	ctx := context.Background()
	_, login := registry.Login(ctx, registry.LoginOptions{Registry: g.Host(), Username: "me", Password: "secret"})
	_, inspect := s.ManifestInspect(ctx, g.Host()+"/bad/image", fast(0))
	_, search := registry.Search(ctx, g.Host()+"/x", registry.SearchOptions{})
	for what, err := range map[string]error{"login": login, "manifest inspect": inspect, "search": search} {
		if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "sent nothing for") {
			t.Errorf("%s: %v (%v)", what, err, errs.KindOf(err))
		}
	}
}

// Nor does a build with a cache: neither for what the cache is, nor for a layer.
func TestSilentCache(t *testing.T) {
	s, g := wildStore(t)
	quick(t, 200*time.Millisecond)
	c := craft(g, tarOf(t, file("a", "b")))
	c.serve(t, g)
	ctx := context.Background()
	r := CacheRef{Name: g.Host() + "/bad/image", Remote: fast(0)}
	refused := func(what string, err error) {
		t.Helper()
		if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "sent nothing for") {
			t.Errorf("%s: %v (%v)", what, err, errs.KindOf(err))
		}
	}
	silent := func(d digest.Digest) func(http.ResponseWriter, *http.Request) bool {
		return on(d.String(), func(w http.ResponseWriter, _ *http.Request) { wild.Hang(w) })
	}
	g.SetBefore(silent(c.man.Config.Digest))
	_, err := s.OpenCache(ctx, r)
	refused("the configuration", err)
	g.SetBefore(silent(c.man.Layers[0].Digest))
	items, err := s.OpenCache(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	defer items[0].Close()
	_, err = items[0].Layer(ctx, items[0].Blobs[0], c.diffs[0], Layer{})
	refused("a layer", err)
}
