// SPDX-License-Identifier: Apache-2.0

// Package images makes the images that the tests use, from what Debian ships,
// and serves them from a registry on loopback under their public names. Nothing
// comes from the internet but Debian packages, through the archive that the
// machine itself is configured with.
package images

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image is one test image.
type image struct {
	refs   []string // public names; the first one's tag is the default
	layers []string // names of trees, bottom first
	config v1.Config
}

// tree is one layer's content and how it is made.
type tree struct {
	name  string
	build func(dir string) error
	net   bool // needs the package archive
}

// Source is what makes the content: a change of it makes a cache stale.
var (
	//go:embed trees.go
	treesSource string
	//go:embed toolchains.go
	toolchainsSource string
	//go:embed layer.go
	layerSource string
	//go:embed catalogue.go
	catalogueSource string
)

// Cache is a directory of made layers.
type Cache struct {
	Dir string // root-owned; survives between runs
	Log func(format string, args ...any)
}

// DefaultDir is where images are kept between runs.
func DefaultDir() string {
	if d := os.Getenv("PROA_TEST_CACHE"); d != "" {
		return d
	}
	return "/var/cache/proa-test"
}

// key changes when the code that makes a tree does.
func key() string {
	h := sha256.New()
	h.Write([]byte(treesSource))
	h.Write([]byte(toolchainsSource))
	h.Write([]byte(layerSource))
	h.Write([]byte(catalogueSource))
	return hex.EncodeToString(h.Sum(nil))[:12]
}

func (c Cache) root() string             { return filepath.Join(c.Dir, "images-"+key()) }
func (c Cache) blobs() string            { return filepath.Join(c.root(), "blobs") }
func (c Cache) layer(name string) string { return filepath.Join(c.root(), name+".tar.gz") }

// Build makes every missing layer. It must run as root: the trees have files
// of several owners. The returned map names the trees that could not be made
// because no package archive answers, with the reason; any other failure is
// the error. Two runs at once wait for each other.
func (c Cache) Build() (missing map[string]error, err error) {
	if err := os.MkdirAll(c.root(), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(c.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	missing = map[string]error{}
	defer os.RemoveAll(filepath.Join(c.root(), sharedLists))
	for _, t := range trees {
		if err := c.buildTree(t); err != nil {
			if !t.net {
				return nil, fmt.Errorf("cannot make the tree %q: %w", t.name, err)
			}
			missing[t.name] = err
		}
	}
	return missing, nil
}

func (c Cache) buildTree(t tree) error {
	if _, err := os.Stat(c.layer(t.name)); err == nil {
		return nil
	}
	c.Log("making the test image layer %q", t.name)
	dir := filepath.Join(c.root(), t.name)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := t.build(dir); err != nil {
		os.RemoveAll(dir)
		return err
	}
	return packLayer(dir, c.layer(t.name))
}

// Tree is the directory of a made tree.
func (c Cache) Tree(name string) string { return filepath.Join(c.root(), name) }

// Names lists every reference that Image knows.
func Names() []string {
	var names []string
	for _, im := range catalogue {
		names = append(names, im.refs...)
	}
	return names
}

// Image puts the image that a reference names together. Its platform is
// linux/ARCH, with ARCH as given: the tests want a second platform to choose
// from, and no test runs its programs.
func (c Cache) Image(ref, arch string) (v1.Image, error) {
	for _, im := range catalogue {
		for _, r := range im.refs {
			if r == ref {
				return c.assemble(im, arch)
			}
		}
	}
	return nil, fmt.Errorf("no test image is named %q", ref)
}

func (c Cache) assemble(im image, arch string) (v1.Image, error) {
	img := mutate.MediaType(empty.Image, types.DockerManifestSchema2)
	img = mutate.ConfigMediaType(img, types.DockerConfigJSON)
	for _, name := range im.layers {
		layer, err := tarball.LayerFromFile(c.layer(name), tarball.WithMediaType(types.DockerLayer))
		if err != nil {
			return nil, err
		}
		img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{
			Created:   v1.Time{Time: epoch},
			CreatedBy: "/bin/sh -c #(nop) ADD file:" + name + " in / ",
		}})
		if err != nil {
			return nil, err
		}
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.Architecture, cf.OS, cf.Created, cf.Config = arch, "linux", v1.Time{Time: epoch}, im.config
	if len(cf.Config.Env) == 0 {
		cf.Config.Env = []string{defaultPath}
	}
	return mutate.ConfigFile(img, cf)
}

// repository splits docker.io/library/x:tag into the registry's path and tag.
func repository(ref string) (path, tag string) {
	name, tag, _ := strings.Cut(ref, ":")
	_, path, _ = strings.Cut(name, "/")
	return path, tag
}

// Mirror is the URI of the package archive that the Debian trees came from.
func Mirror() (string, error) {
	_, uri, err := debianArchive()
	return uri, err
}

// SaveArchives writes what load and import are tested with below dir:
// busybox.tar (docker-archive), busybox-oci.tar (an OCI layout in a tar),
// busybox-oci (the layout itself), rootfs.tar (a bare file system).
func (c Cache) SaveArchives(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	img, err := c.Image("docker.io/library/busybox:latest", runtime.GOARCH)
	if err != nil {
		return err
	}
	tag, err := name.NewTag("docker.io/library/loaded:latest")
	if err != nil {
		return err
	}
	if err := tarball.WriteToFile(filepath.Join(dir, "busybox.tar"), tag, img); err != nil {
		return err
	}
	lay, err := layout.Write(filepath.Join(dir, "busybox-oci"), empty.Index)
	if err != nil {
		return err
	}
	ref := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "docker.io/library/loadedoci:latest"})
	if err := lay.AppendImage(img, ref); err != nil {
		return err
	}
	if err := run("", "tar", "-C", filepath.Join(dir, "busybox-oci"), "-cf", filepath.Join(dir, "busybox-oci.tar"), "."); err != nil {
		return err
	}
	return run("", "tar", "-C", c.Tree("busybox"), "-cf", filepath.Join(dir, "rootfs.tar"), ".")
}
