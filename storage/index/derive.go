// SPDX-License-Identifier: Apache-2.0

package index

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/storage/document"
)

// derive reads the store's own files. fresh holds the images that the index on
// disk lacks or describes in an older state.
func (x *Index) derive() (snap *snapshot, fresh map[string]imageFile, err error) {
	snap = &snapshot{images: map[string]*Image{}}
	fresh = map[string]imageFile{}
	raw, err := readRecords(x.imagesJSON())
	if err != nil {
		return nil, nil, err
	}
	var layers map[string]*Layer
	for _, rec := range raw {
		sum := sha256.Sum256(rec)
		key := hex.EncodeToString(sum[:8])
		var r imageRecord
		if err := json.Unmarshal(rec, &r); err != nil {
			return nil, nil, errs.New(errs.Corrupt, "cannot read %s: %v", x.imagesJSON(), err)
		}
		if !r.complete() {
			continue
		}
		img := x.known(r.ID, key)
		if img == nil {
			if layers == nil {
				if layers, err = x.Layers(); err != nil {
					return nil, nil, err
				}
			}
			if img = x.describe(&r, layers); img == nil {
				continue
			}
			fresh[r.ID] = imageFile{Key: key, Image: *img}
		}
		snap.images[r.ID] = img
		snap.list = append(snap.list, img.Summary)
	}
	sortNewest(snap.list)
	snap.names = snap.lines()
	return snap, fresh, nil
}

func readRecords(path string) ([]json.RawMessage, error) {
	data, err := os.ReadFile(path)
	if notExist(err) || err == nil && len(data) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, errs.New(errs.Corrupt, "cannot read %s: %v", path, err)
	}
	return raw, nil
}

// known is what the index on disk has of an image, nil where that is of another
// record.
func (x *Index) known(id, key string) *Image {
	data, err := os.ReadFile(x.imageFile(id))
	if err != nil {
		return nil
	}
	var f imageFile
	if json.Unmarshal(data, &f) != nil || f.Key != key || x.remade(&f.Image) {
		return nil
	}
	return &f.Image
}

// remade says whether the image's layers have other short names than the index
// took down: it was removed and made again, with the same record, before anybody
// wrote the index.
func (x *Index) remade(img *Image) bool {
	if len(img.Lowers) == 0 {
		return false
	}
	link, err := os.ReadFile(filepath.Join(x.Home(), img.TopLayer, "link"))
	return err == nil && "l/"+string(link) != img.Lowers[0]
}

// Layers reads the records of all layers, by id.
func (x *Index) Layers() (map[string]*Layer, error) {
	out := map[string]*Layer{}
	for _, name := range []string{"layers.json", "volatile-layers.json"} {
		raw, err := readRecords(filepath.Join(x.root, x.Driver()+"-layers", name))
		if err != nil {
			return nil, err
		}
		for _, rec := range raw {
			var l Layer
			if err := json.Unmarshal(rec, &l); err != nil {
				return nil, errs.New(errs.Corrupt, "cannot read %s: %v", name, err)
			}
			out[l.ID] = &l
		}
	}
	return out, nil
}

// BuildLayers are the layers that builds made and no image needs, by id.
func (x *Index) BuildLayers() (map[string]*Layer, error) {
	layers, err := x.Layers()
	if err != nil {
		return nil, err
	}
	list, err := x.List()
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		for l := layers[m.TopLayer]; l != nil; l = layers[l.Parent] {
			delete(layers, l.ID)
		}
	}
	maps.DeleteFunc(layers, func(_ string, l *Layer) bool { return l.Flags[FlagLayer] != LayerBuild })
	return layers, nil
}

// describe makes the index entry of one image, or nil where a part of it is
// missing: such an image cannot be used.
func (x *Index) describe(r *imageRecord, layers map[string]*Layer) *Image {
	img := &Image{Summary: Summary{ID: r.ID, Names: r.Names, Created: r.Created, TopLayer: r.TopLayer}}
	var md Metadata
	_ = json.Unmarshal([]byte(r.Metadata), &md)
	img.RepoDigests = md.RepoDigests
	img.Parent, img.PulledAs = md.Parent, md.PulledAs
	img.Intermediate = md.Intermediate && len(r.Names) == 0
	img.Digest = r.BigDataDigests["manifest"]
	man, err := x.bigData(r.ID, "manifest")
	if err != nil {
		return nil
	}
	var m struct {
		MediaType string            `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
		Config    struct {
			Digest string `json:"digest"`
		} `json:"config"`
	}
	if json.Unmarshal(man, &m) != nil {
		return nil
	}
	img.MediaType = m.MediaType
	if m.Manifests != nil {
		img.List = true
		img.Instances = document.Images(man)
		return img
	}
	conf, err := x.bigData(r.ID, m.Config.Digest)
	if err != nil {
		return nil
	}
	if !x.describeLayers(img, layers) || !describeConfig(img, conf) {
		return nil
	}
	return img
}

// bigData reads one of an image's data items directly.
func (x *Index) bigData(id, key string) ([]byte, error) {
	base := key
	if strings.Trim(key, "0123456789abcdefghijklmnopqrstuvwxyz.") != "" {
		base = "=" + base64.StdEncoding.EncodeToString([]byte(key))
	}
	return os.ReadFile(filepath.Join(x.root, x.Driver()+"-images", id, base))
}

func (x *Index) describeLayers(img *Image, layers map[string]*Layer) bool {
	seen := map[string]bool{}
	for id := img.TopLayer; id != ""; {
		l := layers[id]
		if l == nil || seen[id] {
			return false
		}
		seen[id] = true
		img.Layers = append(img.Layers, id)
		img.DiffIDs = append(img.DiffIDs, l.DiffID)
		img.LayerSizes = append(img.LayerSizes, l.DiffSize)
		img.Size += l.DiffSize
		id = l.Parent
	}
	slices.Reverse(img.DiffIDs)
	slices.Reverse(img.LayerSizes)
	if x.Driver() != "overlay" || img.TopLayer == "" {
		return true
	}
	lowers, mode, ok := x.Lowers(img.TopLayer)
	img.Lowers, img.RootMode = lowers, mode
	return ok
}

// Lowers is the chain of directories from a layer down, topmost first, relative
// to the overlay home, and the permissions of the root directory in it; false
// where the layer is not there.
func (x *Index) Lowers(layer string) ([]string, uint32, bool) {
	dir := filepath.Join(x.Home(), layer)
	link, err := os.ReadFile(filepath.Join(dir, "link"))
	if err != nil {
		return nil, 0, false
	}
	out := []string{"l/" + string(link)}
	lower, err := os.ReadFile(filepath.Join(dir, "lower"))
	if err == nil {
		out = append(out, strings.Split(string(lower), ":")...)
	} else if !notExist(err) {
		return nil, 0, false
	}
	var mode uint32
	if fi, err := os.Stat(filepath.Join(dir, "diff")); err == nil {
		mode = uint32(fi.Mode().Perm())
	}
	return out, mode, true
}

// describeConfig fills in what the image's configuration says.
func describeConfig(img *Image, data []byte) bool {
	var c dockerspec.DockerOCIImage
	var extra struct {
		Comment string `json:"comment"`
	}
	if json.Unmarshal(data, &c) != nil || json.Unmarshal(data, &extra) != nil {
		return false
	}
	if c.Created != nil {
		img.Created = *c.Created
	}
	img.Author, img.Comment = c.Author, extra.Comment
	img.Architecture, img.OS, img.Variant = c.Architecture, c.OS, c.Variant
	img.Labels = c.Config.Labels
	img.Config = configOf(img.ID, &c)
	for _, h := range c.History {
		e := History{CreatedBy: h.CreatedBy, Author: h.Author, Comment: h.Comment, EmptyLayer: h.EmptyLayer}
		if h.Created != nil {
			e.Created = *h.Created
		}
		img.History = append(img.History, e)
	}
	sizeHistory(img)
	return true
}

// sizeHistory gives each step that made a layer that layer's size.
func sizeHistory(img *Image) {
	n := 0
	for i := range img.History {
		if !img.History[i].EmptyLayer && n < len(img.LayerSizes) {
			img.History[i].Size = img.LayerSizes[n]
			n++
		}
	}
}

// configOf takes from an image configuration what a container inherits.
func configOf(id string, c *dockerspec.DockerOCIImage) spec.ImageConfig {
	out := spec.ImageConfig{
		ID: id, Architecture: c.Architecture, OS: c.OS,
		User: c.Config.User, Env: c.Config.Env, Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd,
		WorkingDir: c.Config.WorkingDir, Labels: c.Config.Labels, StopSignal: c.Config.StopSignal,
		Shell: c.Config.Shell, OnBuild: c.Config.OnBuild,
		ExposedPorts: sortedKeys(c.Config.ExposedPorts), Volumes: sortedKeys(c.Config.Volumes),
	}
	if h := c.Config.Healthcheck; h != nil && len(h.Test) > 0 {
		out.Health = &spec.Health{
			Test: h.Test, Interval: h.Interval, Timeout: h.Timeout,
			StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
		}
	}
	return out
}

func sortedKeys(m map[string]struct{}) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
