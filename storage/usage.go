// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.podman.io/storage"

	"github.com/opencontainers/go-digest"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
)

// TreeLayer is one layer of an image as `image tree` shows it.
type TreeLayer struct {
	ID    string
	Size  int64       // bytes, unpacked
	Names []string    // familiar, of the images that end here
	On    []TreeLayer // those that lie on it, of Requires only
}

// Tree lists an image's layers, the lowest first.
func (s *Store) Tree(ref string) (*Image, []TreeLayer, error) {
	img, err := s.Resolve(ref)
	if err != nil {
		return nil, nil, err
	}
	list, err := s.List()
	if err != nil {
		return nil, nil, err
	}
	names := map[string][]string{}
	for _, m := range list {
		for _, n := range m.Names {
			names[m.TopLayer] = append(names[m.TopLayer], imagename.Familiar(n))
		}
	}
	var out []TreeLayer
	for i := len(img.Layers) - 1; i >= 0; i-- {
		id := img.Layers[i]
		out = append(out, TreeLayer{ID: id, Size: img.LayerSizes[len(img.Layers)-1-i], Names: names[id]})
	}
	return img, out, nil
}

// Requires is the layers of an image with, on each, the layers of other images
// that lie on it: the tree that begins at the image's topmost layer.
func (s *Store) Requires(ref string) (*Image, []TreeLayer, error) {
	img, err := s.Resolve(ref)
	if err != nil {
		return nil, nil, err
	}
	list, err := s.List()
	if err != nil {
		return nil, nil, err
	}
	all := map[string]*layerNode{}
	for i := range list {
		m, err := s.readImage(list[i].ID, nil)
		if notExist(err) {
			continue // removed just now
		}
		if err != nil {
			return nil, nil, err
		}
		plant(all, m)
	}
	if all[img.TopLayer] == nil {
		return img, nil, nil
	}
	return img, []TreeLayer{all[img.TopLayer].tree(all)}, nil
}

// layerNode is a layer with the ids of those on it.
type layerNode struct {
	TreeLayer
	on []string
}

// plant adds an image's layers.
func plant(all map[string]*layerNode, m *Image) {
	parent := ""
	for i := len(m.Layers) - 1; i >= 0; i-- {
		id := m.Layers[i]
		n := all[id]
		if n == nil {
			n = &layerNode{TreeLayer: TreeLayer{ID: id, Size: m.LayerSizes[len(m.Layers)-1-i]}}
			all[id] = n
			if p := all[parent]; p != nil {
				p.on = append(p.on, id)
			}
		}
		if id == m.TopLayer {
			for _, name := range m.Names {
				n.Names = append(n.Names, imagename.Familiar(name))
			}
		}
		parent = id
	}
}

func (n *layerNode) tree(all map[string]*layerNode) TreeLayer {
	t := n.TreeLayer
	for _, id := range n.on {
		t.On = append(t.On, all[id].tree(all))
	}
	return t
}

// Usage is what images take on disk.
type Usage struct {
	// Size is the bytes of all layers, each counted once.
	Size int64
	// Images are the same by image id.
	Images map[string]ImageUsage
	// BuildLayers and BuildSize count layers that only the build cache knows.
	BuildLayers int
	BuildSize   int64
}

// ImageUsage splits an image's size into what others share and what would be
// free without it.
type ImageUsage struct{ Shared, Unique int64 }

// Usage adds up the layers; no lock is taken.
func (s *Store) Usage() (*Usage, error) {
	layers, err := s.readLayers()
	if err != nil {
		return nil, err
	}
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	users := map[string]int{}
	walk := func(top string, visit func(l *layerRecord)) {
		for l := layers[top]; l != nil; l = layers[l.Parent] {
			visit(l)
		}
	}
	for _, m := range list {
		walk(m.TopLayer, func(l *layerRecord) { users[l.ID]++ })
	}
	u := &Usage{Images: map[string]ImageUsage{}}
	built := builtLayers(layers)
	for _, l := range layers {
		if users[l.ID] > 0 {
			u.Size += l.DiffSize
		} else if built[l.ID] {
			u.BuildLayers++
			u.BuildSize += l.DiffSize
		}
	}
	for _, m := range list {
		var iu ImageUsage
		walk(m.TopLayer, func(l *layerRecord) {
			if users[l.ID] > 1 {
				iu.Shared += l.DiffSize
			} else {
				iu.Unique += l.DiffSize
			}
		})
		u.Images[m.ID] = iu
	}
	return u, nil
}

// builtLayers are those that builds made, with what lies below them. What a
// killed pull had finished belongs to nobody.
func builtLayers(layers map[string]*layerRecord) map[string]bool {
	built := map[string]bool{}
	for _, l := range layers {
		if l.Flags[flagLayer] == layerImage || l.Flags["incomplete"] != nil {
			continue
		}
		for ; l != nil && !built[l.ID]; l = layers[l.Parent] {
			built[l.ID] = true
		}
	}
	return built
}

// CheckOptions say how deep Check looks.
type CheckOptions struct {
	Quick  bool // only records: no layer content is read
	Repair bool // remove what is broken, with the images that need it
}

// Finding is one thing that Check found.
type Finding struct {
	Image    string // id; empty: a layer that no image has
	Artifact string // digest, instead of an image
	Name     string // familiar, where there is one
	Layer    string // id; empty: the image's own record
	Problem  string
	Repaired bool
}

// Check verifies the records and the content of all images. With Repair it
// removes broken images and layers: what is then missing can be pulled again.
// An image in use (see RemoveOptions.InUse) is reported and left.
func (s *Store) Check(ctx context.Context, o CheckOptions, inUse func(id string) string) (out []Finding, err error) {
	op, err := s.begin(false)
	if err != nil {
		return nil, err
	}
	defer op.end(&err)
	images, err := op.store.Images()
	if err != nil {
		return nil, errs.Wrap(err, "read the records of", s.root)
	}
	bad := map[string]string{} // layer -> problem
	good := map[string]bool{}
	for i := range images {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		f := op.checkImage(&images[i], o, good, bad)
		if f == nil {
			continue
		}
		if o.Repair && (inUse == nil || inUse(f.Image) == "") {
			if _, derr := op.store.DeleteImage(f.Image, true); derr == nil {
				f.Repaired = true
			} else {
				f.Problem += "; it cannot be removed: " + derr.Error()
			}
		}
		out = append(out, *f)
	}
	return out, nil
}

func (o *op) checkImage(img *storage.Image, co CheckOptions, good map[string]bool, bad map[string]string) *Finding {
	f := &Finding{Image: img.ID}
	if len(img.Names) > 0 {
		f.Name = imagename.Familiar(img.Names[0])
	}
	for _, key := range img.BigDataNames {
		data, err := o.store.ImageBigData(img.ID, key)
		if err == nil && img.BigDataDigests[key] != "" && digest.FromBytes(data) != img.BigDataDigests[key] {
			err = errors.New("its content changed")
		}
		if err != nil {
			f.Problem = fmt.Sprintf("item %s: %v", key, err)
			return f
		}
	}
	if raw, err := o.store.ImageBigData(img.ID, "manifest"); err == nil && !json.Valid(raw) {
		f.Problem = "the manifest is not JSON"
		return f
	}
	for id := img.TopLayer; id != ""; {
		l, err := o.store.Layer(id)
		if err != nil {
			f.Layer, f.Problem = id, "the layer is missing"
			return f
		}
		if !good[id] && bad[id] == "" {
			if p := o.checkLayer(l, co); p != "" {
				bad[id] = p
			} else {
				good[id] = true
			}
		}
		if bad[id] != "" {
			f.Layer, f.Problem = id, bad[id]
			return f
		}
		id = l.Parent
	}
	return nil
}

// checkLayer reads a layer as the archive that it came as: its digest covers
// every byte.
func (o *op) checkLayer(l *storage.Layer, co CheckOptions) string {
	dir := filepath.Join(o.s.root, "vfs", "dir", l.ID)
	if o.s.driver() == "overlay" {
		dir = filepath.Join(o.s.home(), l.ID, "diff")
	}
	if _, err := os.Stat(dir); err != nil {
		return "the layer's directory is missing"
	}
	if co.Quick || l.UncompressedDigest == "" {
		return ""
	}
	rc, err := o.store.Diff("", l.ID, nil)
	if err != nil {
		return fmt.Sprintf("the layer cannot be read: %v", err)
	}
	defer rc.Close()
	got, err := digest.FromReader(rc)
	if err != nil {
		return fmt.Sprintf("the layer cannot be read: %v", err)
	}
	if got != l.UncompressedDigest {
		return "the layer's content changed"
	}
	return ""
}
