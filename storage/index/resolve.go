// SPDX-License-Identifier: Apache-2.0

package index

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.podman.io/image/v5/docker/reference"

	"github.com/proa-containers/proa/pkg/errs"
	slips "github.com/proa-containers/proa/pkg/names"
	"github.com/proa-containers/proa/storage/document"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/shortname"
)

// Resolve finds an image in the store: by name (docker.io, library/ and :latest
// implied), name@digest, short name, podman's localhost/NAME (see imagename.Stored), id
// or unique prefix of an id. Kind NotFound: there is none.
func (x *Index) Resolve(name string) (*Image, error) { return x.resolve(name, 1) }

// shownDigits is how much of an id lists of images show.
const shownDigits = 12

// ResolveWritten is Resolve for a name in a Dockerfile. A shorter beginning of an id
// than lists of images show is none there: the file is for other machines too, where
// the same word begins another image's id, and a mistyped stage must not be one.
func (x *Index) ResolveWritten(name string) (*Image, error) { return x.resolve(name, shownDigits) }

func (x *Index) resolve(name string, digits int) (*Image, error) {
	return x.read(name, func(names []byte) (string, error) { return find(names, name, digits) })
}

// ResolveExact finds the image that has a complete name.
func (x *Index) ResolveExact(full string) (*Image, error) {
	return x.read(full, func(names []byte) (string, error) {
		id, ok := lookup(names, "n", full)
		if !ok {
			return "", NoSuchImage(full)
		}
		return id, nil
	})
}

// read reads the image that find finds among the names of all.
func (x *Index) read(name string, find func(names []byte) (id string, err error)) (*Image, error) {
	// A second look covers an image that was replaced between the two reads.
	for try := 0; ; try++ {
		names, snap, err := x.readNames()
		if err != nil {
			return nil, err
		}
		id, err := find(names)
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

// find looks for whole ids, then names, then the start of an id, as Docker does, with at
// least so many digits.
func find(names []byte, name string, digits int) (string, error) {
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
	if idLike && len(hex) >= digits {
		id, many := lookupID(names, hex)
		if many {
			return "", errs.New(errs.Invalid, "image id prefix %q is ambiguous: several images begin with it", name)
		}
		if id != "" {
			return id, nil
		}
	}
	return "", didYouMean(names, name)
}

// didYouMean is NoSuchImage with the local name that the user likely meant.
func didYouMean(all []byte, name string) error {
	err := NoSuchImage(name)
	asked, perr := imagename.Parse(name)
	if perr != nil {
		return err
	}
	var known []string
	for line := range strings.Lines(string(all)) {
		if full, ok := strings.CutPrefix(line, "n\t"); ok {
			full, _, _ = strings.Cut(full, "\t")
			repo, _ := imagename.Split(imagename.Familiar(full))
			known = append(known, repo)
		}
	}
	if like := slips.Nearest(reference.FamiliarName(asked), known); like != "" {
		return errs.WithHint(err, "did you mean %s?", like)
	}
	return err
}

func findNamed(names []byte, name string, named reference.Named) (string, bool) {
	kind := "n"
	if _, ok := named.(reference.Digested); ok {
		kind = "d"
	}
	id := ""
	_, ok := match(name, named, func(full string) (ok bool) {
		id, ok = lookup(names, kind, full)
		return ok
	}, func(repository string) bool { return hasDigest(names, repository, id) })
	return id, ok
}

// GivenName is which of the image's names, or names by digest, the user meant, ""
// for an id.
func GivenName(img *Image, ref string) string {
	named, err := imagename.Parse(ref)
	if err != nil {
		return ""
	}
	full, _ := match(ref, named, func(full string) bool {
		return slices.Contains(img.Names, full) || slices.Contains(img.RepoDigests, full)
	}, func(repository string) bool { return imagename.AtRegistry(repository, img.RepoDigests) })
	return full
}

// match is the first of the complete names that name stands for which has says that an
// image has. known says whether that image is known to a registry under a repository.
func match(name string, named reference.Named, has, known func(string) bool) (full string, ok bool) {
	if full = named.String(); has(full) {
		return full, true
	}
	if stored, ok := imagename.Stored(name); ok && has(stored.String()) && !known(stored.Name()) {
		return stored.String(), true
	}
	if !imagename.IsShort(name) {
		return "", false
	}
	if local, err := imagename.Parse("localhost/" + name); err == nil && has(local.String()) {
		return local.String(), true
	}
	// Only now registries.conf: it is several files to read and parse.
	candidates, err := shortname.Candidates(name)
	if err != nil {
		return "", false
	}
	for _, c := range candidates {
		if has(c.String()) {
			return c.String(), true
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
	return document.MIMEType(raw), m.Annotations, nil
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
