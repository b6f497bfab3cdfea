// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/storage/manifestlist"
)

// imageRecord is what we read of one element of the store's images.json.
type imageRecord struct {
	ID             string            `json:"id"`
	Names          []string          `json:"names"`
	NamesHistory   []string          `json:"names-history"`
	TopLayer       string            `json:"layer"`
	Metadata       string            `json:"metadata"`
	BigDataNames   []string          `json:"big-data-names"`
	BigDataDigests map[string]string `json:"big-data-digests"`
	Created        time.Time         `json:"created"`
	Flags          map[string]any    `json:"flags"`
}

// layerRecord is what we read of one element of layers.json.
type layerRecord struct {
	ID       string         `json:"id"`
	Parent   string         `json:"parent"`
	DiffID   string         `json:"diff-digest"`
	DiffSize int64          `json:"diff-size"`
	Flags    map[string]any `json:"flags"`
}

// metadata is the store's free text for each image. containers/image keeps its
// signature sizes there; ours stand beside them.
type metadata struct {
	SignatureSizes []int `json:"signature-sizes,omitempty"`
	// RepoDigests are the names by digest under which the image was pulled or
	// pushed. A local tag is none.
	RepoDigests []string `json:"proa-repo-digests,omitempty"`
	Parent      string   `json:"proa-parent,omitempty"`
	// Intermediate marks a step of a build that only the cache knows.
	Intermediate bool `json:"proa-intermediate,omitempty"`
	// PulledAs is the name that a build asked for, for another platform: the
	// name itself stays with the host's image.
	PulledAs string `json:"proa-pulled-as,omitempty"`
}

// flagPending marks an image that is created without its name, which follows in
// a second step: still without any name, it is what a killed command left.
const flagPending = "proa-pending"

// complete says whether the image's last step was done.
func (r *imageRecord) complete() bool {
	if !slices.Contains(r.BigDataNames, "manifest") {
		return false
	}
	return r.Flags[flagPending] == nil || len(r.Names) > 0 || len(r.NamesHistory) > 0
}

// derive reads the store's own files. fresh holds the images that the index on
// disk lacks or describes in an older state.
func (s *Store) derive() (ix *index, fresh map[string]imageFile, err error) {
	ix = &index{images: map[string]*Image{}}
	fresh = map[string]imageFile{}
	raw, err := readRecords(s.imagesJSON())
	if err != nil {
		return nil, nil, err
	}
	var layers map[string]*layerRecord
	for _, rec := range raw {
		sum := sha256.Sum256(rec)
		key := hex.EncodeToString(sum[:8])
		var r imageRecord
		if err := json.Unmarshal(rec, &r); err != nil {
			return nil, nil, errs.New(errs.Corrupt, "cannot read %s: %v", s.imagesJSON(), err)
		}
		if !r.complete() {
			continue
		}
		img := s.known(r.ID, key)
		if img == nil {
			if layers == nil {
				if layers, err = s.readLayers(); err != nil {
					return nil, nil, err
				}
			}
			if img = s.describe(&r, layers); img == nil {
				continue
			}
			fresh[r.ID] = imageFile{Key: key, Image: *img}
		}
		ix.images[r.ID] = img
		ix.list = append(ix.list, img.Summary)
	}
	sortNewest(ix.list)
	ix.names = ix.lines()
	return ix, fresh, nil
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

func (s *Store) known(id, key string) *Image {
	data, err := os.ReadFile(s.imageFile(id))
	if err != nil {
		return nil
	}
	var f imageFile
	if json.Unmarshal(data, &f) != nil || f.Key != key {
		return nil
	}
	return &f.Image
}

func (s *Store) readLayers() (map[string]*layerRecord, error) {
	out := map[string]*layerRecord{}
	for _, name := range []string{"layers.json", "volatile-layers.json"} {
		raw, err := readRecords(filepath.Join(s.root, s.driver()+"-layers", name))
		if err != nil {
			return nil, err
		}
		for _, rec := range raw {
			var l layerRecord
			if err := json.Unmarshal(rec, &l); err != nil {
				return nil, errs.New(errs.Corrupt, "cannot read %s: %v", name, err)
			}
			out[l.ID] = &l
		}
	}
	return out, nil
}

// describe makes the index entry of one image, or nil where a part of it is
// missing: such an image cannot be used.
func (s *Store) describe(r *imageRecord, layers map[string]*layerRecord) *Image {
	img := &Image{Summary: Summary{ID: r.ID, Names: r.Names, Created: r.Created, TopLayer: r.TopLayer}}
	var md metadata
	_ = json.Unmarshal([]byte(r.Metadata), &md)
	img.RepoDigests = md.RepoDigests
	img.Parent, img.PulledAs = md.Parent, md.PulledAs
	img.Intermediate = md.Intermediate && len(r.Names) == 0
	img.Digest = r.BigDataDigests["manifest"]
	man, err := s.bigData(r.ID, "manifest")
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
		img.Instances = manifestlist.Images(man)
		return img
	}
	conf, err := s.bigData(r.ID, m.Config.Digest)
	if err != nil {
		return nil
	}
	if !s.describeLayers(img, layers) || !describeConfig(img, conf) {
		return nil
	}
	return img
}

// bigData reads one of an image's data items directly.
func (s *Store) bigData(id, key string) ([]byte, error) {
	base := key
	if strings.Trim(key, "0123456789abcdefghijklmnopqrstuvwxyz.") != "" {
		base = "=" + base64.StdEncoding.EncodeToString([]byte(key))
	}
	return os.ReadFile(filepath.Join(s.root, s.driver()+"-images", id, base))
}

func (s *Store) describeLayers(img *Image, layers map[string]*layerRecord) bool {
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
	if s.driver() != "overlay" || img.TopLayer == "" {
		return true
	}
	lowers, mode, ok := s.lowers(img.TopLayer)
	img.Lowers, img.RootMode = lowers, mode
	return ok
}

// lowers is the chain of directories from a layer down, topmost first, relative
// to the overlay home, and the permissions of the root directory in it.
func (s *Store) lowers(layer string) ([]string, uint32, bool) {
	dir := filepath.Join(s.home(), layer)
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
	img.Config = ConfigOf(img.ID, &c)
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

// ConfigOf takes from an image configuration what a container inherits.
func ConfigOf(id string, c *dockerspec.DockerOCIImage) spec.ImageConfig {
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
