// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/proa-containers/proa/test/wild"
)

// registry NAME [BEHAVIOUR[=VALUE]]... starts a registry on loopback that behaves
// so, until the script ends, and sets NAME to its address. It has me/alpine, which
// runs and has a layer of 2 MiB of noise on top, and me/multi for amd64 and arm64.
//
//	basic=USER:PASSWORD  token=USER:PASSWORD   wants credentials
//	cut=N stall=N        bytes of the big layer, each time
//	slow                 a few KiB of it at a time
//	status=N             answers so to all requests for manifests
//	flaky=N              answers 503 to the first N of them
//	hang                 never answers those
//	endless              never ends the list of tags
//	search               has the search of Docker's own registry
func cmdRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: registry name [behaviour...]")
	}
	g := wild.New()
	b := &behaviour{g: g, values: map[string]string{}}
	for _, a := range args[1:] {
		k, v, _ := strings.Cut(a, "=")
		b.values[k] = v
	}
	ts.Check(b.fill(ts.Getenv("CONTAINERS_REGISTRIES_CONF")))
	g.SetBefore(b.before)
	g.SetAround(b.around)
	srv, host := g.Start()
	ts.Defer(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	ts.Setenv(args[0], host)
}

type behaviour struct {
	g      *wild.Registry
	values map[string]string
	big    string // digest of the big layer

	mu    sync.Mutex
	flaky int
}

var mirrorLocation = regexp.MustCompile(`location = "([^"]+)"`)

// fill takes the images over from the registry of all scripts.
func (b *behaviour) fill(conf string) error {
	text, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	m := mirrorLocation.FindStringSubmatch(string(text))
	if m == nil {
		return fmt.Errorf("no location in %s", conf)
	}
	ref, err := name.ParseReference(m[1]+"/library/alpine", name.Insecure)
	if err != nil {
		return err
	}
	img, err := remote.Image(ref)
	if err != nil {
		return err
	}
	noise := make([]byte, 2<<20)
	rand.New(rand.NewSource(1)).Read(noise)
	big, err := mutate.AppendLayers(img, static.NewLayer(tarOf("noise", noise), types.DockerUncompressedLayer))
	if err != nil {
		return err
	}
	ls, err := big.Layers()
	if err != nil {
		return err
	}
	d, err := ls[len(ls)-1].Digest()
	if err != nil {
		return err
	}
	b.big = d.String()
	if err := b.g.Add("me/alpine:latest", big); err != nil {
		return err
	}
	return b.addMulti(img)
}

func tarOf(name string, body []byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))})
	_, _ = w.Write(body)
	_ = w.Close() // into memory: no error is possible
	return b.Bytes()
}

func (b *behaviour) addMulti(img v1.Image) error {
	type entry struct {
		MediaType types.MediaType   `json:"mediaType"`
		Digest    string            `json:"digest"`
		Size      int64             `json:"size"`
		Platform  map[string]string `json:"platform"`
	}
	var list []entry
	for _, arch := range []string{"amd64", "arm64"} {
		cf, err := img.ConfigFile()
		if err != nil {
			return err
		}
		cf = cf.DeepCopy()
		cf.Architecture = arch
		one, err := mutate.ConfigFile(img, cf)
		if err != nil {
			return err
		}
		if err := b.g.Add("me/multi:"+arch, one); err != nil {
			return err
		}
		d, err := one.Digest()
		if err != nil {
			return err
		}
		size, err := one.Size()
		if err != nil {
			return err
		}
		mt, err := one.MediaType()
		if err != nil {
			return err
		}
		list = append(list, entry{mt, d.String(), size, map[string]string{"os": "linux", "architecture": arch}})
	}
	raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": types.OCIImageIndex, "manifests": list})
	if err == nil {
		b.g.Manifest("me/multi:latest", string(types.OCIImageIndex), raw)
	}
	return err
}

// before answers what the behaviour spoils.
func (b *behaviour) before(w http.ResponseWriter, r *http.Request) bool {
	has := func(k string) bool { _, ok := b.values[k]; return ok }
	switch {
	case r.URL.Path == "/v1/search" && has("search"):
		b.search(w, r)
	case r.URL.Path == "/token" && has("token"):
		b.token(w, r)
	case has("basic") && !sentBasic(r, b.values["basic"]):
		w.Header().Set("WWW-Authenticate", `Basic realm="wild"`)
		w.WriteHeader(http.StatusUnauthorized)
	case has("token") && r.Header.Get("Authorization") != "Bearer good":
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="wild"`)
		w.WriteHeader(http.StatusUnauthorized)
	case strings.Contains(r.URL.Path, "/manifests/"):
		return b.manifest(w)
	case strings.HasSuffix(r.URL.Path, "/tags/list") && has("endless"):
		_, err := io.WriteString(w, `{"tags":["a"`)
		for more := strings.Repeat(`,"a"`, 4000); err == nil; {
			_, err = io.WriteString(w, more)
		}
	default:
		return false
	}
	return true
}

func sentBasic(r *http.Request, want string) bool {
	u, p, ok := r.BasicAuth()
	return ok && u+":"+p == want
}

func (b *behaviour) token(w http.ResponseWriter, r *http.Request) {
	if !sentBasic(r, b.values["token"]) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = io.WriteString(w, `{"token":"good"}`)
}

func (b *behaviour) manifest(w http.ResponseWriter) bool {
	if _, ok := b.values["hang"]; ok {
		wild.Hang(w)
		return true
	}
	if n, err := strconv.Atoi(b.values["status"]); err == nil {
		w.WriteHeader(n)
		return true
	}
	limit, _ := strconv.Atoi(b.values["flaky"])
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flaky++; b.flaky <= limit {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	return false
}

func (b *behaviour) around(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if !strings.HasSuffix(r.URL.Path, b.big) {
		return w
	}
	if n, err := strconv.ParseInt(b.values["cut"], 10, 64); err == nil {
		return wild.Cut(w, n)
	}
	if n, err := strconv.ParseInt(b.values["stall"], 10, 64); err == nil {
		return wild.Stall(w, n)
	}
	if _, ok := b.values["slow"]; ok {
		return &slowWriter{w}
	}
	return w
}

// slowWriter takes about half a minute for a MiB.
type slowWriter struct{ http.ResponseWriter }

func (s *slowWriter) Write(p []byte) (int, error) {
	sent := 0
	for len(p) > 0 {
		n, err := s.ResponseWriter.Write(p[:min(len(p), 4<<10)])
		sent += n
		if err != nil {
			return sent, err
		}
		if err := http.NewResponseController(s.ResponseWriter).Flush(); err != nil {
			return sent, err
		}
		p = p[n:]
		time.Sleep(100 * time.Millisecond)
	}
	return sent, nil
}

// search answers as Docker's registry does.
func (b *behaviour) search(w http.ResponseWriter, r *http.Request) {
	type result struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		StarCount   int    `json:"star_count"`
		IsOfficial  bool   `json:"is_official"`
		IsAutomated bool   `json:"is_automated"`
	}
	long := strings.Repeat("a very long description ", 5)
	all := []result{
		{"web", "the official one\nwith a second line \x1b[31m", 1200, true, false},
		{"me/web", long, 30, false, true},
		{"you/web", "", 0, false, false},
	}
	var found []result
	limit, _ := strconv.Atoi(r.URL.Query().Get("n"))
	for _, f := range all {
		if strings.Contains(f.Name, r.URL.Query().Get("q")) && (limit == 0 || len(found) < limit) {
			found = append(found, f)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"num_results": len(found), "results": found})
}
