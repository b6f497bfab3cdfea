// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"go.podman.io/image/v5/pkg/sysregistriesv2"

	"github.com/proa-containers/proa/pkg/dirs"
	"github.com/proa-containers/proa/storage/progress"
)

// TestMain runs the tests inside a user namespace with the user's subordinate
// ids, as writing calls need it; real root needs none.
func TestMain(m *testing.M) {
	if Reexec() {
		return
	}
	if os.Getenv("PROA_TEST_CHILD") != "" {
		os.Exit(childMain())
	}
	if os.Geteuid() != 0 && os.Getenv("PROA_TEST_USERNS") == "" {
		os.Exit(inUserns())
	}
	os.Exit(m.Run())
}

func inUserns() int {
	for _, ids := range [][]string{{"--map-root-user", "--map-auto"}, {"--map-root-user"}} {
		args := append([]string{"--user", "--mount"}, ids...)
		if exec.Command("unshare", append(args, "true")...).Run() != nil {
			continue
		}
		c := exec.Command("unshare", append(append(args, os.Args[0]), os.Args[1:]...)...)
		c.Env = append(os.Environ(), "PROA_TEST_USERNS=1")
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return 1
		}
		return 0
	}
	fmt.Println("no user namespace can be made here")
	return 1
}

// newStore is an empty store in a directory of the test, with a registries.conf
// that knows nothing but the registry at host, if any, as docker.io.
func newStore(t testing.TB, host string) *Store {
	t.Helper()
	dir := t.TempDir()
	conf := ""
	if host != "" {
		conf = fmt.Sprintf("[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = %q\ninsecure = true\n"+
			"[[registry]]\nlocation = %q\ninsecure = true\n", host, host)
	}
	file := filepath.Join(dir, "registries.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_REGISTRIES_CONF", file)
	sysregistriesv2.InvalidateCache()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "runtime"))
	s := Open(dirs.Dirs{Data: filepath.Join(dir, "data"), Run: filepath.Join(dir, "run")})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// newRegistry serves images from memory; wrap may alter its answers.
func newRegistry(t testing.TB) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	return srv
}

func hostOf(srv *httptest.Server) string { return strings.TrimPrefix(srv.URL, "http://") }

// entry is one file of a test layer.
type entry struct {
	h    tar.Header
	body string
}

func file(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, body}
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.h.Size = int64(len(e.body))
		if err := w.WriteHeader(&e.h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// imageOf is an image with one layer for each archive.
func imageOf(t testing.TB, layers ...[]byte) v1.Image {
	t.Helper()
	img := empty.Image
	for _, l := range layers {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(l)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "test"}}); err != nil {
			t.Fatal(err)
		}
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf = cf.DeepCopy()
	cf.Architecture, cf.OS = "amd64", "linux"
	cf.Config.Cmd = []string{"/bin/sh"}
	cf.Config.Env = []string{"PATH=/bin"}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	return img
}

func push(t testing.TB, host, ref string, img v1.Image) {
	t.Helper()
	r, err := name.ParseReference(host+"/"+ref, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(r, img); err != nil {
		t.Fatal(err)
	}
}

// lines collects what a transfer tells.
type lines struct{ b bytes.Buffer }

func (l *lines) progress() Progress { return progress.Plain(&l.b) }
