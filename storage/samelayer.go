// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"go.podman.io/storage"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/index"
)

// One content can stand on several parents: a base that several images have, a
// COPY --link whose base changed. It is made once more from the layer that has
// it: by hard links, since nothing ever writes to a layer, else by reading it.

// LayerID is the store's id for a layer with this content on top of parent.
func LayerID(parent Layer, diffID digest.Digest) string { return layerID(parent.ID, diffID) }

// FindLayer finds some layer with this content, on whatever parent.
func (s *Store) FindLayer(diffID digest.Digest) (Layer, bool) {
	layers, err := s.Layers()
	if err != nil {
		return Layer{}, false
	}
	for _, l := range layers {
		if l.DiffID == diffID.String() && l.Flags["incomplete"] == nil {
			return Layer{ID: l.ID, DiffID: diffID, Size: l.DiffSize}, true
		}
	}
	return Layer{}, false
}

// CopyLayer puts content that some layer has on top of parent. Kind NotFound:
// none has it.
func (s *Store) CopyLayer(ctx context.Context, diffID digest.Digest, parent Layer) (l Layer, err error) {
	o, err := s.begin(false)
	if err != nil {
		return Layer{}, err
	}
	defer o.end(&err)
	g := o.stageSame(diffID, "")
	if g == nil {
		return Layer{}, errs.New(errs.NotFound, "no layer has the content %s", diffID)
	}
	l = Layer{DiffID: g.diffID, Size: g.size}
	l.ID, _, err = s.commit(o.store, g, parent.ID, index.LayerBuild)
	return l, err
}

// stageSame makes content again from a layer that has it; nil: none has, or it
// cannot be read.
func (o *op) stageSame(want, blob digest.Digest) *staged {
	same, err := o.store.LayersByUncompressedDigest(want)
	if err != nil || len(same) == 0 {
		return nil
	}
	if g := o.stageLinks(&same[0], blob); g != nil {
		return g
	}
	rc, err := o.store.Diff("", same[0].ID, nil)
	if err != nil {
		return nil
	}
	defer rc.Close()
	g, err := o.s.stage(o.store, rc, blob)
	if err != nil {
		return nil
	}
	if g.diffID != want {
		g.drop(o.store)
		return nil
	}
	return g
}

// stageLinks makes the content of hard links to the files of l.
func (o *op) stageLinks(l *storage.Layer, blob digest.Digest) *staged {
	if o.store.GraphDriverName() != "overlay" {
		return nil
	}
	d := &linkDiffer{
		src: filepath.Join(o.s.Home(), l.ID, "diff"), layer: l,
		split: filepath.Join(o.s.root, "overlay-layers", l.ID+".tar-split.gz"),
	}
	out, err := o.store.PrepareStagedLayer(nil, d)
	if err != nil {
		if out != nil && out.Target != "" {
			_ = o.store.CleanupStagedLayer(out)
		}
		return nil
	}
	out.UncompressedDigest, out.CompressedDigest = l.UncompressedDigest, blob
	return &staged{diffID: l.UncompressedDigest, size: l.UncompressedSize, blob: blob, out: out}
}

type linkDiffer struct {
	src, split string
	layer      *storage.Layer
}

func (d *linkDiffer) Close() error { return nil }

func (d *linkDiffer) ApplyDiff(dest string, _ *archive.TarOptions, do *drivers.DifferOptions) (drivers.DriverWithDifferOutput, error) {
	out := drivers.DriverWithDifferOutput{Differ: d, Target: dest}
	split, err := copySplit(d.split, do.StagingDirectory)
	if err != nil {
		return out, err
	}
	if err := linkTree(d.src, dest); err != nil {
		split.Close()
		return out, err
	}
	out.Size, out.TarSplit, out.UIDs, out.GIDs = d.layer.UncompressedSize, split, d.layer.UIDs, d.layer.GIDs
	return out, nil
}

// errOwnRoot: the archive has an entry for the root directory, whose mode the
// links alone do not tell.
var errOwnRoot = errors.New("the layer has a root directory of its own")

// copySplit unpacks the description of a layer's archive into a file of the
// staging directory.
func copySplit(file, dir string) (_ *os.File, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	out, err := openUnnamed(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			out.Close()
		}
	}()
	w := bufio.NewWriter(out)
	dec := json.NewDecoder(io.TeeReader(z, w))
	for {
		var e struct {
			Type int    `json:"type"`
			Name string `json:"name"`
		}
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if e.Type == 1 && e.Name != "" && path.Clean("/"+e.Name) == "/" {
			return nil, errOwnRoot
		}
	}
	return out, w.Flush()
}

// linkTree fills dest, which exists, with the directories of src and hard links
// to everything else in it.
func linkTree(src, dest string) error {
	type dirTimes struct {
		path string
		st   unix.Stat_t
	}
	var dirs []dirTimes
	err := filepath.WalkDir(src, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := dest + strings.TrimPrefix(p, src)
		if !e.IsDir() {
			return unix.Linkat(unix.AT_FDCWD, p, unix.AT_FDCWD, to, 0)
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		if p != src {
			if err := os.Mkdir(to, 0o700); err != nil {
				return err
			}
			if err := errors.Join(unix.Lchown(to, int(st.Uid), int(st.Gid)), unix.Chmod(to, st.Mode&0o7777), copyDirAttributes(p, to)); err != nil {
				return err
			}
		}
		dirs = append(dirs, dirTimes{to, st})
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, d.path, []unix.Timespec{d.st.Atim, d.st.Mtim}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	return nil
}

// copyDirAttributes carries over what a directory has: marks of overlay, access
// lists, the user's own.
func copyDirAttributes(from, to string) error {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(from, buf)
	if errors.Is(err, unix.ENOTSUP) || n == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	val := make([]byte, 64<<10)
	for _, name := range strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if strings.HasPrefix(name, "security.") && name != "security.capability" {
			continue // the host's labels
		}
		n, err := unix.Lgetxattr(from, name, val)
		if err != nil {
			return err
		}
		if err := unix.Lsetxattr(to, name, val[:n], 0); err != nil {
			return err
		}
	}
	return nil
}
