// SPDX-License-Identifier: Apache-2.0

package images

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Registry serves the test images on loopback.
type Registry struct {
	Addr   string // host:port
	Images []string
	srv    *http.Server

	mu       sync.Mutex
	requests []string
}

// Serve starts a registry with every image whose layers could be made. Close
// ends it.
func (c Cache) Serve(missing map[string]error) (*Registry, error) {
	if err := os.MkdirAll(c.blobs(), 0o755); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Registry{Addr: ln.Addr().String()}
	quiet := log.New(io.Discard, "", 0)
	// Blobs stay on disk between runs: only manifests are pushed again.
	blobs := registry.NewDiskBlobHandler(c.blobs())
	handler := registry.New(registry.Logger(quiet), registry.WithBlobHandler(blobs))
	r.srv = &http.Server{Handler: r.record(handler, blobs), ErrorLog: quiet}
	go r.srv.Serve(ln)
	for _, im := range catalogue {
		if err := c.push(r, im, missing); err != nil {
			r.Close()
			return nil, err
		}
	}
	return r, nil
}

// Close stops the registry.
func (r *Registry) Close() { r.srv.Close() }

func (r *Registry) record(next http.Handler, blobs registry.BlobHandler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, req.Method+" "+req.URL.Path)
		r.mu.Unlock()
		if mounted(w, req, blobs) {
			return
		}
		next.ServeHTTP(w, req)
	})
}

// mounted answers the request to take a blob over from another repository,
// which the library's registry does not know.
func mounted(w http.ResponseWriter, req *http.Request, blobs registry.BlobHandler) bool {
	repo, ok := strings.CutSuffix(strings.TrimSuffix(req.URL.Path, "/"), "/blobs/uploads")
	hash, err := v1.NewHash(req.URL.Query().Get("mount"))
	if req.Method != http.MethodPost || !ok || err != nil {
		return false
	}
	stat, ok := blobs.(registry.BlobStatHandler)
	if !ok {
		return false
	}
	if _, err := stat.Stat(req.Context(), repo, hash); err != nil {
		return false
	}
	w.Header().Set("Location", repo+"/blobs/"+hash.String())
	w.Header().Set("Docker-Content-Digest", hash.String())
	w.WriteHeader(http.StatusCreated)
	return true
}

// Requests returns what was asked so far, as "METHOD path".
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.requests...)
}

// Conf is a registries.conf that sends docker.io to this registry. docker.io
// itself is blocked, so that a test can never reach it.
func (r *Registry) Conf() string {
	return fmt.Sprintf(`unqualified-search-registries = ["docker.io"]
short-name-mode = "permissive"

[[registry]]
prefix = "docker.io"
location = %[1]q
insecure = true

[[registry]]
prefix = "registry.example.com"
location = %[1]q
insecure = true

[[registry]]
location = %[1]q
insecure = true

[[registry]]
prefix = "blocked.example.com"
location = "blocked.example.com"
blocked = true
`, r.Addr)
}

func (c Cache) push(r *Registry, im image, missing map[string]error) error {
	for _, l := range im.layers {
		if missing[l] != nil {
			return nil
		}
	}
	img, err := c.assemble(im, runtime.GOARCH)
	if err != nil {
		return err
	}
	for _, ref := range im.refs {
		path, tag := repository(ref)
		dst, err := name.ParseReference(r.Addr+"/"+path+":"+tag, name.Insecure)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, "/alpine") {
			err = c.pushIndex(im, img, dst)
		} else {
			err = remote.Write(dst, img)
		}
		if err != nil {
			return fmt.Errorf("cannot push %s: %w", ref, err)
		}
		r.Images = append(r.Images, ref)
	}
	return nil
}

// pushIndex pushes a list of two platforms: this machine's and another.
func (c Cache) pushIndex(im image, own v1.Image, dst name.Reference) error {
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	foreign, err := c.assemble(im, other)
	if err != nil {
		return err
	}
	add := func(img v1.Image, arch string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}}
	}
	return remote.WriteIndex(dst, mutate.AppendManifests(empty.Index, add(own, runtime.GOARCH), add(foreign, other)))
}
