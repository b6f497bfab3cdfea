// SPDX-License-Identifier: Apache-2.0

// Package wild is a registry for tests that misbehaves on demand. It serves
// images from memory, with ranges, and takes none.
package wild

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
)

// Registry is a handler. Requests come at the same time.
type Registry struct {
	NoRanges bool

	host      string
	mu        sync.Mutex
	before    func(w http.ResponseWriter, r *http.Request) (answered bool)
	around    func(w http.ResponseWriter, r *http.Request) http.ResponseWriter
	manifests map[string]document // by REPOSITORY:TAG and REPOSITORY@DIGEST
	blobs     map[string][]byte
	sent      map[string]int64
	requests  map[string]int
}

type document struct {
	mime string
	raw  []byte
}

// New makes an empty registry.
func New() *Registry {
	return &Registry{manifests: map[string]document{}, blobs: map[string][]byte{}, sent: map[string]int64{}, requests: map[string]int{}}
}

// Start serves it on loopback, over HTTP. The caller closes the server.
func (g *Registry) Start() (srv *httptest.Server, host string) {
	srv = httptest.NewServer(g)
	g.host = strings.TrimPrefix(srv.URL, "http://")
	return srv, g.host
}

// Host is where Start serves it.
func (g *Registry) Host() string { return g.host }

// Add serves an image under REPOSITORY:TAG.
func (g *Registry) Add(name string, img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		rc, err := l.Compressed()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(rc)
		if err != nil {
			return err
		}
		g.Blob(b)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	g.Blob(config)
	raw, err := img.RawManifest()
	if err != nil {
		return err
	}
	mime, err := img.MediaType()
	if err != nil {
		return err
	}
	g.Manifest(name, string(mime), raw)
	return nil
}

// Blob serves content and returns its digest.
func (g *Registry) Blob(b []byte) digest.Digest {
	d := digest.FromBytes(b)
	g.BlobAs(d.String(), b)
	return d
}

// BlobAs serves content under a digest that need not be its own.
func (g *Registry) BlobAs(d string, b []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.blobs[d] = b
}

// Manifest serves a document under REPOSITORY:TAG and its digest.
func (g *Registry) Manifest(name, mime string, raw []byte) digest.Digest {
	g.mu.Lock()
	defer g.mu.Unlock()
	repo, _, _ := strings.Cut(name, ":")
	d := digest.FromBytes(raw)
	g.manifests[name] = document{mime, raw}
	g.manifests[repo+"@"+d.String()] = document{mime, raw}
	return d
}

// SetBefore sets what is asked before each answer, and answers what it wants to
// spoil itself.
func (g *Registry) SetBefore(f func(w http.ResponseWriter, r *http.Request) (answered bool)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before = f
}

// SetAround sets what changes how an answer goes out, for instance with Cut.
func (g *Registry) SetAround(f func(w http.ResponseWriter, r *http.Request) http.ResponseWriter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.around = f
}

// Sent is how many bytes of a blob went out, over all requests.
func (g *Registry) Sent(d string) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sent[d]
}

// Requests is how often a path was asked for.
func (g *Registry) Requests(path string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.requests[path]
}

// ServeHTTP implements http.Handler.
func (g *Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.requests[r.URL.Path]++
	before, around := g.before, g.around
	g.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	_, blob, _ := strings.Cut(path, "/blobs/")
	w = &counted{w, func(n int) {
		g.mu.Lock()
		g.sent[blob] += int64(n)
		g.mu.Unlock()
	}}
	if around != nil {
		w = around(w, r)
	}
	switch {
	case path == "":
		w.WriteHeader(http.StatusOK)
	case strings.Contains(path, "/manifests/"):
		g.serveManifest(w, path)
	case strings.Contains(path, "/blobs/"):
		g.serveBlob(w, r, blob)
	case strings.HasSuffix(path, "/tags/list"):
		g.serveTags(w, strings.TrimSuffix(path, "/tags/list"))
	default:
		fail(w, http.StatusNotFound, "UNSUPPORTED")
	}
}

func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, strings.ToLower(strings.ReplaceAll(code, "_", " ")))
}

func (g *Registry) serveManifest(w http.ResponseWriter, path string) {
	repo, ref, _ := strings.Cut(path, "/manifests/")
	sep := ":"
	if strings.Contains(ref, ":") {
		sep = "@"
	}
	g.mu.Lock()
	m, ok := g.manifests[repo+sep+ref]
	g.mu.Unlock()
	if !ok {
		fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN")
		return
	}
	w.Header().Set("Content-Type", m.mime)
	_, _ = w.Write(m.raw)
}

func (g *Registry) serveBlob(w http.ResponseWriter, r *http.Request, d string) {
	g.mu.Lock()
	b, ok := g.blobs[d]
	g.mu.Unlock()
	if !ok {
		fail(w, http.StatusNotFound, "BLOB_UNKNOWN")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if g.NoRanges {
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// counted counts the body. It hides the io.ReaderFrom of what it wraps.
type counted struct {
	http.ResponseWriter
	add func(int)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.add(n)
	return n, err
}

// Unwrap lets http.ResponseController through.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (g *Registry) serveTags(w http.ResponseWriter, repo string) {
	tags := []string{}
	g.mu.Lock()
	for name := range g.manifests {
		if tag, ok := strings.CutPrefix(name, repo+":"); ok {
			tags = append(tags, tag)
		}
	}
	g.mu.Unlock() // before the answer, which is counted
	if len(tags) == 0 {
		fail(w, http.StatusNotFound, "NAME_UNKNOWN")
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"name": repo, "tags": tags})
}

// Cut ends the answer after n bytes of its body, as a lost connection does.
func Cut(w http.ResponseWriter, n int64) http.ResponseWriter {
	return &cutter{w, n, func() { HangUp(w) }}
}

// Stall sends n bytes of the body and then nothing, until the client leaves.
func Stall(w http.ResponseWriter, n int64) http.ResponseWriter {
	return &cutter{w, n, func() { Hang(w) }}
}

// Hang answers nothing until the client leaves.
func Hang(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}
}

// HangUp ends the connection.
func HangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}

type cutter struct {
	http.ResponseWriter
	left int64
	end  func()
}

func (c *cutter) Write(p []byte) (int, error) {
	if int64(len(p)) < c.left {
		c.left -= int64(len(p))
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	c.end()
	return 0, http.ErrAbortHandler
}

// Unwrap lets http.ResponseController through.
func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
