// SPDX-License-Identifier: Apache-2.0

package index

import (
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
func (x *Index) Tree(ref string) (*Image, []TreeLayer, error) {
	img, err := x.Resolve(ref)
	if err != nil {
		return nil, nil, err
	}
	list, err := x.List()
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
func (x *Index) Requires(ref string) (*Image, []TreeLayer, error) {
	img, err := x.Resolve(ref)
	if err != nil {
		return nil, nil, err
	}
	list, err := x.List()
	if err != nil {
		return nil, nil, err
	}
	all := map[string]*layerNode{}
	for i := range list {
		m, err := x.readImage(list[i].ID, nil)
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
	// Unused is what would be free without the images that are not in use.
	Unused int64
	// Images are the same by image id.
	Images map[string]ImageUsage
	// BuildLayers and BuildSize count layers that only the build cache knows.
	BuildLayers int
	BuildSize   int64
}

// ImageUsage splits an image's size into what others share and what would be
// free without it.
type ImageUsage struct{ Shared, Unique int64 }

// Usage adds up the layers; no lock is taken. used says which images are in use;
// nil: none is.
func (x *Index) Usage(used func(id string) bool) (*Usage, error) {
	layers, err := x.Layers()
	if err != nil {
		return nil, err
	}
	list, err := x.List()
	if err != nil {
		return nil, err
	}
	users := map[string]int{}
	walk := func(top string, visit func(l *Layer)) {
		for l := layers[top]; l != nil; l = layers[l.Parent] {
			visit(l)
		}
	}
	needed := map[string]bool{}
	for _, m := range list {
		inUse := used != nil && used(m.ID)
		walk(m.TopLayer, func(l *Layer) {
			users[l.ID]++
			needed[l.ID] = needed[l.ID] || inUse
		})
	}
	u := &Usage{Images: map[string]ImageUsage{}}
	built := builtLayers(layers)
	for _, l := range layers {
		if users[l.ID] > 0 {
			u.Size += l.DiffSize
			if !needed[l.ID] {
				u.Unused += l.DiffSize
			}
		} else if built[l.ID] {
			u.BuildLayers++
			u.BuildSize += l.DiffSize
		}
	}
	for _, m := range list {
		var iu ImageUsage
		walk(m.TopLayer, func(l *Layer) {
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
func builtLayers(layers map[string]*Layer) map[string]bool {
	built := map[string]bool{}
	for _, l := range layers {
		if l.Flags[FlagLayer] == LayerImage || l.Flags["incomplete"] != nil {
			continue
		}
		for ; l != nil && !built[l.ID]; l = layers[l.Parent] {
			built[l.ID] = true
		}
	}
	return built
}
