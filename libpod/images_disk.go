// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/treesize"
	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/imagename"
)

// PruneImagesOptions select images that nothing uses.
type PruneImagesOptions struct {
	All     bool                // also those with a name
	Filters map[string][]string // as in ImageListOptions
}

// PrunedImages is what PruneImages removed.
type PrunedImages struct {
	Untagged []string
	Deleted  []string // "sha256:..."
	Size     int64    // bytes given back
}

type pruneRequest struct {
	All   bool
	Keep  []string // ids
	InUse map[string]string
}

// PruneImages removes images that no container uses.
func (e *Engine) PruneImages(ctx context.Context, o PruneImagesOptions) (*PrunedImages, error) {
	match, err := e.imageFilter(ImageListOptions{Filters: o.Filters})
	if err != nil {
		return nil, err
	}
	// From the look at the containers to the deletion nobody makes a new one.
	lock, err := e.lockImages(ctx, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	list, err := e.images.List()
	if err != nil {
		return nil, err
	}
	r := pruneRequest{All: o.All}
	for i := range list {
		if !match(&list[i]) {
			r.Keep = append(r.Keep, list[i].ID)
		}
	}
	if r.InUse, err = e.imageUsers(ctx); err != nil {
		return nil, err
	}
	var done storage.Removal
	if err := e.inside(ctx, "prune", r, &done, nil, nil); err != nil {
		return nil, err
	}
	return &PrunedImages{Untagged: done.Untagged, Deleted: done.Deleted, Size: done.Size}, nil
}

func opPrune(ctx context.Context, c *insideCall) (any, error) {
	var r pruneRequest
	if err := json.Unmarshal(c.request, &r); err != nil {
		return nil, err
	}
	keep := map[string]bool{}
	for _, id := range r.Keep {
		keep[id] = true
	}
	return c.e.images.Prune(ctx, storage.PruneOptions{All: r.All, Keep: func(s *storage.Summary) bool { return keep[s.ID] },
		InUse: func(id string) string { return r.InUse[id] }})
}

// DiskUse is one kind of thing in `system df`.
type DiskUse struct {
	Total, Active     int
	Size, Reclaimable int64 // bytes
}

// DiskItem is one image, container or volume in `system df -v`.
type DiskItem struct {
	Image     *ImageSummary // with Shared and Unique
	Container *Summary
	Volume    *Volume
	Shared    int64 // bytes, of an image
	Unique    int64
	Size      int64 // bytes, of a volume
}

// Disk is what everything takes on disk. Bytes of files that belong to other
// ids and cannot be looked at are not counted.
type Disk struct {
	Images, Containers, Volumes, BuildCache DiskUse
	Items                                   []DiskItem // images, containers, volumes
}

// DiskUsage adds up images, writable layers, volumes and the build cache.
func (e *Engine) DiskUsage(ctx context.Context) (*Disk, error) {
	d := &Disk{}
	containers, err := e.List(ctx, ListOptions{All: true})
	if err != nil {
		return nil, err
	}
	if err := e.diskImages(ctx, d); err != nil {
		return nil, err
	}
	volumes, err := e.Volumes(ctx, nil)
	if err != nil {
		return nil, err
	}
	mounts := e.cacheMounts()
	sizes, err := e.treeSizes(ctx, containers, append(volumes[:len(volumes):len(volumes)], mounts...))
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		d.BuildCache.add(sizes[m.Name], false)
	}
	for i := range containers {
		s := &containers[i]
		s.SizeRw = sizes[s.ID]
		d.Items = append(d.Items, DiskItem{Container: s})
		d.Containers.add(s.SizeRw, s.State.Live() || s.State == lifecycle.Paused)
	}
	for i := range volumes {
		v := &volumes[i]
		size := sizes[v.Name]
		d.Items = append(d.Items, DiskItem{Volume: v, Size: size})
		d.Volumes.add(size, len(v.Containers) > 0)
	}
	return d, nil
}

func (u *DiskUse) add(size int64, active bool) {
	u.Total++
	u.Size += size
	if active {
		u.Active++
	} else {
		u.Reclaimable += size
	}
}

func (e *Engine) diskImages(ctx context.Context, d *Disk) error {
	list, err := e.Images(ctx, ImageListOptions{All: true})
	if err != nil {
		return err
	}
	active := map[string]bool{}
	for i := range list {
		active[list[i].ID] = list[i].Containers > 0
	}
	use, err := e.images.Usage(func(id string) bool { return active[id] })
	if err != nil {
		return err
	}
	d.Images.Size, d.Images.Reclaimable = use.Size, use.Unused
	for i := range list {
		u := use.Images[list[i].ID]
		d.Items = append(d.Items, DiskItem{Image: &list[i], Shared: u.Shared, Unique: u.Unique})
		d.Images.Total++
		if list[i].Containers > 0 {
			d.Images.Active++
		}
	}
	// As in Docker a step counts whose layer an image has too; its bytes are the
	// image's.
	steps, err := os.ReadDir(filepath.Join(e.BuildCacheDir(), "steps"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.BuildCache = DiskUse{Total: max(len(steps), use.BuildLayers), Size: use.BuildSize, Reclaimable: use.BuildSize}
	return nil
}

// cacheMounts are the directories that builds keep for RUN --mount=type=cache,
// as if they were volumes.
func (e *Engine) cacheMounts() (list []Volume) {
	parent := filepath.Join(e.BuildCacheDir(), "mounts")
	entries, _ := os.ReadDir(parent) // there is none before the first
	for _, m := range entries {
		if m.IsDir() { // beside it is its lock
			dir := filepath.Join(parent, m.Name())
			list = append(list, Volume{Name: dir, Mountpoint: dir})
		}
	}
	return list
}

// VolumeSizes is what each volume's files take, by name.
func (e *Engine) VolumeSizes(ctx context.Context, volumes []Volume) (map[string]int64, error) {
	return e.treeSizes(ctx, nil, volumes)
}

// treeSizes measures writable layers and volumes as root of the namespace,
// which may look into all of them. Keys are container ids and volume names.
func (e *Engine) treeSizes(ctx context.Context, containers []Summary, volumes []Volume) (sizes map[string]int64, err error) {
	trees := map[string]string{}
	for _, c := range containers {
		trees[c.ID] = e.dirs.Container(c.ID) + "/upper"
	}
	for _, v := range volumes {
		trees[v.Name] = v.Mountpoint
	}
	if len(trees) == 0 {
		return nil, nil
	}
	return sizes, e.inside(ctx, "sizes", trees, &sizes, nil, nil)
}

func opSizes(_ context.Context, c *insideCall) (any, error) {
	var trees map[string]string
	if err := json.Unmarshal(c.request, &trees); err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for k, dir := range trees {
		sizes[k] = treesize.Of(dir)
	}
	return sizes, nil
}

// CheckOptions say how deep Check looks.
type CheckOptions = storage.CheckOptions

// CheckFinding is one thing that Check found.
type CheckFinding struct {
	Image     string // id; empty: a layer that no image has, or none of these
	Artifact  string // digest
	Volume    string // name
	Container string // id
	Name      string // familiar, of an image or artifact that has one
	Layer     string // id; empty: the image's own record
	Size      int64  // bytes, of volumes and containers
	Problem   string
	Repaired  bool
	Done      string // what Repair did, where it did not remove it
}

type storeCheckRequest struct {
	Options CheckOptions
	InUse   map[string]string
}

// Check verifies the records and the content of all images and artifacts, and
// with Repair removes what is broken and not in use. Volumes and containers
// without a record get one: see checkLost.
func (e *Engine) Check(ctx context.Context, o CheckOptions) (list []CheckFinding, err error) {
	lock, err := e.lockImages(ctx, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	use, err := e.imageUsers(ctx)
	if !o.Repair || err != nil {
		lock.Close() // nothing will be removed, so nobody has to wait
	} else {
		defer lock.Close()
	}
	if err != nil {
		return nil, err
	}
	var images []storage.Finding
	if err := e.inside(ctx, "check", storeCheckRequest{o, use}, &images, nil, nil); err != nil {
		return nil, err
	}
	for _, f := range images {
		list = append(list,
			CheckFinding{Image: f.Image, Name: f.Name, Layer: f.Layer, Problem: f.Problem, Repaired: f.Repaired})
	}
	broken, err := e.artifacts().Check(ctx, o.Repair)
	for _, b := range broken {
		list = append(list, CheckFinding{Artifact: b.Digest.Encoded(), Name: imagename.Familiar(b.Name), Problem: b.Text, Repaired: b.Repaired})
	}
	if err != nil {
		return list, err
	}
	lost, err := e.checkLost(ctx, o.Repair)
	return append(list, lost...), err
}

func opCheck(ctx context.Context, c *insideCall) (any, error) {
	var r storeCheckRequest
	if err := json.Unmarshal(c.request, &r); err != nil {
		return nil, err
	}
	return c.e.images.Check(ctx, r.Options, func(id string) string { return r.InUse[id] })
}
