// SPDX-License-Identifier: Apache-2.0

package index

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/manifest"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/registry"
)

// Resolve finds an image in the store: by name (docker.io, library/ and :latest
// implied), name@digest, short name, id or unique prefix of an id. Kind
// NotFound: there is none.
func (x *Index) Resolve(name string) (*Image, error) {
	// A second look covers an image that was replaced between the two reads.
	for try := 0; ; try++ {
		names, snap, err := x.readNames()
		if err != nil {
			return nil, err
		}
		id, err := find(names, name)
		if err != nil {
			return nil, err
		}
		img, err := x.readImage(id, snap)
		if err == nil {
			return img, nil
		}
		if !notExist(err) {
			return nil, err
		}
		if try == 1 {
			return nil, NoSuchImage(name)
		}
		if _, err := x.refresh(false); err != nil {
			return nil, err
		}
	}
}

// find looks for whole ids, then names, then the start of an id, as Docker does.
func find(names []byte, name string) (string, error) {
	hex, idLike := imagename.IsID(name)
	if idLike && len(hex) == 64 {
		if id, _ := lookupID(names, hex); id != "" {
			return id, nil
		}
	}
	named, err := imagename.Parse(name)
	if err == nil {
		if id, ok := findNamed(names, name, named); ok {
			return id, nil
		}
	} else if !idLike {
		return "", err
	}
	if idLike {
		id, many := lookupID(names, hex)
		if many {
			return "", errs.New(errs.Invalid, "image id prefix %q is ambiguous: several images begin with it", name)
		}
		if id != "" {
			return id, nil
		}
	}
	return "", NoSuchImage(name)
}

func findNamed(names []byte, name string, named reference.Named) (string, bool) {
	kind := "n"
	if _, ok := named.(reference.Digested); ok {
		kind = "d"
	}
	if id, ok := lookup(names, kind, named.String()); ok {
		return id, true
	}
	if !imagename.IsShort(name) {
		return "", false
	}
	if local, err := imagename.Parse("localhost/" + name); err == nil {
		if id, ok := lookup(names, kind, local.String()); ok {
			return id, true
		}
	}
	// Only now registries.conf: it is several files to read and parse.
	candidates, err := registry.Candidates(nil, name)
	if err != nil {
		return "", false
	}
	for _, c := range candidates {
		if id, ok := lookup(names, kind, c.String()); ok {
			return id, true
		}
	}
	return "", false
}

// NoSuchImage is what Docker says about a name that no image has. Kind NotFound.
func NoSuchImage(name string) error {
	if !strings.Contains(name, "@") && !strings.HasPrefix(name, "sha256:") {
		if n, err := imagename.Parse(name); err == nil {
			name = reference.FamiliarString(n)
		}
	}
	return errs.New(errs.NotFound, "No such image: %s", name)
}

// RawConfig is the image's configuration as its author made it: JSON.
func (x *Index) RawConfig(img *Image) ([]byte, error) { return x.bigData(img.ID, "sha256:"+img.ID) }

// RawManifest is the image's manifest as it was pulled or made: JSON.
func (x *Index) RawManifest(img *Image) ([]byte, error) { return x.bigData(img.ID, "manifest") }

// ManifestNotes are the MIME type and the annotations of the image's manifest.
func (x *Index) ManifestNotes(img *Image) (mime string, annotations map[string]string, err error) {
	raw, err := x.RawManifest(img)
	if err != nil {
		return "", nil, err
	}
	var m struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", nil, errs.New(errs.Corrupt, "cannot read the manifest of image %s: %w", img.ID, err)
	}
	return manifest.GuessMIMEType(raw), m.Annotations, nil
}

// LayerDirs are the directories of the image's layers on the host, topmost
// first. They are for reading only.
func (x *Index) LayerDirs(img *Image) []string {
	var out []string
	for _, l := range img.Layers {
		if x.Driver() == "vfs" {
			out = append(out, filepath.Join(x.root, "vfs", "dir", l))
			continue
		}
		out = append(out, filepath.Join(x.Home(), l, "diff"))
	}
	return out
}

// LayerExists reports whether a layer is in the store: a few microseconds, and
// no lock.
func (x *Index) LayerExists(id string) bool {
	if id == "" || strings.Contains(id, "/") {
		return false
	}
	if x.Driver() == "vfs" {
		_, err := os.Stat(filepath.Join(x.root, "vfs", "dir", id))
		return err == nil
	}
	_, err := os.Stat(filepath.Join(x.Home(), id, "link"))
	return err == nil
}

// InLists are the images that lists of the store name.
func InLists(list []Summary) map[string]bool {
	in := map[string]bool{}
	for i := range list {
		for _, id := range list[i].Instances {
			in[id] = true
		}
	}
	return in
}
