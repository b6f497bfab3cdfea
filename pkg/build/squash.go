// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/files"
)

// origin is the image that a stage and the stages below it started from.
type origin struct {
	top             Layer
	layers, history int // of the image
}

// squash replaces the layers above base by one. The cached layers stay what
// they are. History keeps its lines, now without layers.
func (b *builder) squash(ctx context.Context, s *stage, base origin, img *dockerspec.DockerOCIImage) (Layer, error) {
	if len(img.RootFS.DiffIDs) <= base.layers+1 {
		return s.top, nil
	}
	layer, err := b.mergedLayer(ctx, base.top, s.top)
	if err != nil {
		return Layer{}, err
	}
	img.RootFS.DiffIDs = append(slices.Clone(img.RootFS.DiffIDs[:base.layers]), digestOf(layer.DiffID))
	img.History = slices.Clone(img.History)
	for i := base.history; i < len(img.History); i++ {
		img.History[i].EmptyLayer = true
	}
	img.History = append(img.History, v1.History{Created: img.Created, Comment: "squashed by proa"})
	return layer, nil
}

// mergedLayer makes one layer on base that leads to the files of top.
func (b *builder) mergedLayer(ctx context.Context, base, top Layer) (Layer, error) {
	dir, release, err := b.engine.MountLayer(ctx, top)
	if err != nil {
		return Layer{}, err
	}
	sc, err := b.engine.NewScratch(ctx, base)
	if err != nil {
		return Layer{}, errors.Join(err, release())
	}
	err = syncTrees(sc, dir)
	if rerr := release(); err == nil {
		err = rerr
	}
	if err != nil {
		return Layer{}, joinDiscard(err, sc)
	}
	layer, err := sc.Commit(ctx, b.layerEpoch())
	if err != nil {
		return Layer{}, joinDiscard(err, sc)
	}
	return layer, nil
}

// syncTrees makes the scratch equal to dir, touching only what differs.
func syncTrees(sc Scratch, dir string) error {
	merged, err := sc.Merged()
	if err != nil {
		return err
	}
	src, err := files.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := files.OpenRoot(merged)
	if err != nil {
		return err
	}
	defer dst.Close()
	want, have := &files.Walker{Root: src}, &files.Walker{Root: dst}
	if err := errors.Join(want.Add("", ""), have.Add("", "")); err != nil {
		return err
	}
	old := make(map[string]*files.Entry, len(have.Entries))
	for i := range have.Entries {
		old[have.Entries[i].Path] = &have.Entries[i]
	}
	changed := &files.Walker{Root: src}
	for _, e := range want.Entries {
		o := old[e.Path]
		if o == nil || !sameFile(o, &e) {
			changed.Entries = append(changed.Entries, e)
		}
		if o != nil && o.Stat.Mode&unix.S_IFMT == e.Stat.Mode&unix.S_IFMT {
			delete(old, e.Path)
		}
	}
	for p := range old {
		// No link is followed: the parents were walked as directories.
		if err := os.RemoveAll(filepath.Join(merged, p)); err != nil {
			return err
		}
	}
	c := files.NewCopier(dst)
	defer c.Close()
	return c.CopyAll(changed, "/")
}

// sameFile says whether both views of two layer chains show the very same
// inode, unchanged: overlay shows the numbers and times of the layer's file.
func sameFile(a, b *files.Entry) bool {
	x, y := &a.Stat, &b.Stat
	if x.Mode != y.Mode || x.Uid != y.Uid || x.Gid != y.Gid || x.Mtim != y.Mtim || x.Rdev != y.Rdev || a.Link != b.Link {
		return false
	}
	if x.Mode&unix.S_IFMT != unix.S_IFREG {
		return true
	}
	return x.Size == y.Size && x.Ino == y.Ino && x.Ctim == y.Ctim
}
