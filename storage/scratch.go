// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.podman.io/storage"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/overlay"
	"github.com/proa-containers/proa/pkg/rmtree"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/pack"
	"github.com/proa-containers/proa/storage/rootmount"
	"github.com/proa-containers/proa/storage/staging"
)

// Scratch is a writable layer on top of a parent, for a build. What a killed
// process leaves of it the next writing call clears away. Its methods are for
// one goroutine.
type Scratch struct {
	s       *Store
	o       *op
	parent  Layer
	dir     string
	rootfs  spec.Rootfs
	mounted bool
	root    unix.Stat_t // of the upper directory as it began
}

// NewScratch starts a writable layer on parent. The caller ends it with Commit
// or Discard.
func (s *Store) NewScratch(parent Layer) (*Scratch, error) { return s.newScratch(parent, false) }

// NewDetached starts a writable layer that sees nothing of the parent on which
// it will stand.
func (s *Store) NewDetached(parent Layer) (*Scratch, error) { return s.newScratch(parent, true) }

func (s *Store) newScratch(parent Layer, detached bool) (_ *Scratch, err error) {
	o, err := s.begin(false)
	if err != nil {
		return nil, err
	}
	w := &Scratch{s: s, o: o, parent: parent}
	defer func() {
		if err != nil {
			_ = w.Discard()
		}
	}()
	if s.Driver() != "overlay" {
		return nil, errs.WithHint(errs.New(errs.Unsupported, "a build needs overlay, which this host refuses to an unprivileged user"),
			"install the package fuse-overlayfs and start with an empty store")
	}
	if w.dir, err = os.MkdirTemp(s.tmpDir(), "scratch-"); err != nil {
		return nil, err
	}
	var lowers []string
	var mode uint32
	if parent.ID != "" {
		var ok bool
		if lowers, mode, ok = s.Lowers(parent.ID); !ok {
			return nil, errs.New(errs.NotFound, "layer %s is not in the store", parent.ID)
		}
	}
	if detached {
		lowers = nil
	}
	if w.rootfs, err = s.rootfs(lowers, mode, w.dir); err != nil {
		return nil, err
	}
	if err = rootmount.Mend(w.rootfs); err != nil {
		return nil, err
	}
	return w, unix.Stat(w.rootfs.Upper, &w.root)
}

// Upper is the directory that receives the changes.
func (w *Scratch) Upper() string { return w.rootfs.Upper }

// Rootfs is the layer for a monitor, which mounts it itself. Merged must not be
// mounted at that time.
func (w *Scratch) Rootfs() spec.Rootfs { return w.rootfs }

// Merged mounts parent and changes together, once, and returns the path. It is
// gone after Unmount, Commit and Discard.
func (w *Scratch) Merged() (string, error) {
	dir := filepath.Join(w.dir, "merged")
	if w.mounted {
		return dir, nil
	}
	if err := mkdirMode(dir, 0o700); err != nil {
		return "", err
	}
	if len(w.rootfs.Lowers) == 0 {
		// Overlay wants a lower directory; without one there is nothing to merge.
		if err := unix.Mount(w.rootfs.Upper, dir, "", unix.MS_BIND, ""); err != nil {
			return "", errs.Wrap(err, "mount", dir)
		}
	} else if err := rootmount.Overlay(w.rootfs, dir); err != nil {
		return "", err
	}
	w.mounted = true
	return dir, nil
}

// Unmount ends Merged; calling it twice is fine.
func (w *Scratch) Unmount() error {
	if !w.mounted {
		return nil
	}
	w.mounted = false
	return rootmount.Unmount(filepath.Join(w.dir, "merged"), w.rootfs.Driver)
}

// Commit turns the changes into a read-only layer. The scratch is gone
// afterwards. With epoch no file is newer than it.
func (w *Scratch) Commit(_ context.Context, epoch *time.Time) (Layer, error) {
	if err := w.Unmount(); err != nil {
		return Layer{}, err
	}
	defer func() { _ = w.Discard() }()
	// Without its own entry, a changed root directory would be lost, and the
	// layer taken for any other one with the same files.
	var now unix.Stat_t
	if err := unix.Stat(w.rootfs.Upper, &now); err != nil {
		return Layer{}, errs.Wrap(err, "commit a layer", "")
	}
	changed := now.Mode != w.root.Mode || now.Uid != w.root.Uid || now.Gid != w.root.Gid
	po := pack.Options{Epoch: epoch, Clean: true, Layer: true, Fuse: w.rootfs.Driver == overlay.FuseDriver, Root: changed}
	g, err := w.s.stageDir(w.o, w.rootfs.Upper, po)
	if err != nil {
		return Layer{}, errs.Wrap(err, "commit a layer", "")
	}
	l := Layer{DiffID: g.diffID, Size: g.size}
	l.ID, _, err = w.s.commit(w.o.store, g, w.parent.ID, index.LayerBuild)
	return l, err
}

// Discard drops everything; after Commit it does nothing.
func (w *Scratch) Discard() error {
	if w.o == nil {
		return nil
	}
	err := w.Unmount()
	if w.dir != "" {
		if rerr := rmtree.Remove(w.dir); err == nil {
			err = rerr
		}
	}
	w.o.end(&err)
	w.o = nil
	return err
}

// stageDir makes staged content of a directory by moving it.
func (s *Store) stageDir(o *op, dir string, po pack.Options) (*staged, error) {
	d := &staging.Directory{Dir: dir, Options: po}
	out, err := staging.Fill(o.store, d)
	if err != nil {
		return nil, err
	}
	out.UncompressedDigest = d.DiffID
	return &staged{diffID: d.DiffID, size: out.Size, out: out}, nil
}

// TopLayer is an image's topmost layer, the zero Layer for an image without
// any.
func (s *Store) TopLayer(img *Image) Layer {
	chain := chainOf(img)
	if len(chain) == 0 {
		return Layer{}
	}
	return chain[len(chain)-1]
}

// AddLayer makes a layer of an archive, compressed or not, on top of parent.
func (s *Store) AddLayer(_ context.Context, r io.Reader, parent Layer) (l Layer, err error) {
	o, err := s.begin(false)
	if err != nil {
		return Layer{}, err
	}
	defer o.end(&err)
	return o.addLayer(r, parent, index.LayerBuild)
}

// CreateImage stores an image whose layers are in the store, and returns its
// hex id. An image that is there already gets the names.
func (s *Store) CreateImage(ctx context.Context, c CreateOptions) (id string, err error) {
	if id, ok := s.unchanged(c); ok {
		return id, nil
	}
	o, err := s.begin(false)
	if err != nil {
		return "", err
	}
	defer o.end(&err)
	return o.create(ctx, c)
}

// RemoveLayers deletes those of the layers that neither an image nor another layer
// needs, with the layers of former images below them, and returns the bytes given
// back (unpacked).
func (s *Store) RemoveLayers(ctx context.Context, ids ...string) (size int64, err error) {
	s.makeRoom()
	o, err := s.begin(false)
	if err != nil {
		return 0, err
	}
	defer o.end(&err)
	layers, err := o.store.Layers()
	if err != nil {
		return 0, err
	}
	images, err := o.store.Images()
	if err != nil {
		return 0, err
	}
	return s.deleteLayers(ctx, o.store, layers, allBut(ids, layers, images))
}

// allBut are all layers but those to go, and but those of former images on which
// only these stand.
func allBut(ids []string, layers []storage.Layer, images []storage.Image) map[string]bool {
	byID := map[string]*storage.Layer{}
	for i := range layers {
		byID[layers[i].ID] = &layers[i]
	}
	goes := map[string]bool{}
	for _, id := range ids {
		goes[id] = true
	}
	for _, id := range ids {
		for l := byID[id]; l != nil; l = byID[l.Parent] {
			goes[l.ID] = goes[l.ID] || l.Flags[index.FlagLayer] == index.LayerImage
		}
	}
	keep := map[string]bool{}
	mark := func(id string) {
		for l := byID[id]; l != nil && !keep[l.ID]; l = byID[l.Parent] {
			keep[l.ID] = true
		}
	}
	for _, i := range images {
		mark(i.TopLayer)
	}
	for _, l := range layers {
		if !goes[l.ID] {
			mark(l.ID)
		}
	}
	return keep
}
