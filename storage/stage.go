// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.podman.io/storage"
	drivers "go.podman.io/storage/drivers"

	"github.com/proa-containers/proa/pkg/rmtree"
	"github.com/proa-containers/proa/storage/blob"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/staging"
)

// staged is one layer's content, unpacked beside the store and not yet a layer.
type staged struct {
	diffID digest.Digest // of the uncompressed archive
	size   int64         // of the uncompressed archive
	blob   digest.Digest // as it was transferred
	out    *drivers.DriverWithDifferOutput
	// file is the uncompressed archive where the driver cannot take a
	// directory (vfs).
	file *os.File
	// unset is how many files have lost their set-uid or set-gid bit: with one id
	// their owners are not to be had.
	unset int
}

// stage unpacks an archive (compressed or not) for st. Nothing takes the
// store's locks, so any number of layers can be staged at once. The stream is
// read to its end; its own verification is the caller's.
func (s *Store) stage(st storage.Store, r io.Reader, transferred digest.Digest) (*staged, error) {
	sum := &hashReader{h: sha256.New()}
	plain, stop, err := blob.Decompress(r)
	if err != nil {
		return nil, err
	}
	defer stop()
	sum.r = plain
	out := &staged{blob: transferred}
	if st.GraphDriverName() != "overlay" {
		err = out.spool(s.tmpDir(), sum)
	} else {
		err = out.unpackInto(st, sum)
	}
	if err != nil {
		out.drop(st)
		return nil, err
	}
	out.diffID = digest.NewDigest(digest.SHA256, sum.h)
	if out.out != nil {
		out.out.UncompressedDigest, out.out.CompressedDigest = out.diffID, transferred
	}
	return out, nil
}

func (g *staged) unpackInto(st storage.Store, r io.Reader) error {
	d := &staging.Archive{R: r}
	out, err := staging.Fill(st, d)
	if err != nil {
		return err
	}
	g.out, g.size, g.unset = out, out.Size, d.Unset
	return nil
}

// spool keeps the archive for drivers that only take streams.
func (g *staged) spool(dir string, r io.Reader) error {
	f, err := os.CreateTemp(dir, "layer-")
	if err != nil {
		return err
	}
	_ = os.Remove(f.Name())
	g.file = f
	g.size, err = io.Copy(f, r)
	return err
}

// drop forgets content that did not become a layer. Calling it twice is fine.
func (g *staged) drop(st storage.Store) {
	if g.out != nil {
		_ = st.CleanupStagedLayer(g.out)
		g.out = nil
	}
	if g.file != nil {
		g.file.Close()
		g.file = nil
	}
}

// commit turns staged content into a layer on top of parent and returns its id.
// existed says that the layer was there before.
func (s *Store) commit(st storage.Store, g *staged, parent, kind string) (id string, existed bool, err error) {
	id = layerID(parent, g.diffID)
	// The store itself would replace the directory of a layer that another
	// process has made since we looked.
	unlock, err := s.lockFile("ops/layers")
	if err != nil {
		return "", false, err
	}
	defer unlock()
	if st.Exists(id) {
		g.drop(st)
		return id, true, nil
	}
	o := &storage.LayerOptions{Flags: map[string]any{index.FlagLayer: kind}}
	if g.out != nil {
		out := g.out
		_, err = st.ApplyStagedLayer(storage.ApplyStagedLayerOptions{
			ID: id, ParentLayer: parent, DiffOutput: out, LayerOptions: o,
		})
		if err == nil {
			g.out = nil
			_ = rmtree.Remove(strings.TrimSuffix(out.Target, "/dir"))
			s.dropMountPoints(id)
		}
	} else {
		if _, err = g.file.Seek(0, io.SeekStart); err != nil {
			return "", false, err
		}
		o.OriginalDigest, o.UncompressedDigest = g.diffID, g.diffID
		_, _, err = st.PutLayer(id, parent, nil, "", false, o, g.file)
	}
	g.drop(st)
	if err != nil && !errors.Is(err, storage.ErrDuplicateID) {
		return "", false, fmt.Errorf("cannot commit layer %s: %w", id[:12], err)
	}
	return id, false, nil
}

// dropMountPoints removes two directories that the driver makes for every layer
// but only needs for writable ones; where it mounts a layer all the same it
// makes them again. Two blocks a layer are what the store would use more than
// that of other tools.
func (s *Store) dropMountPoints(id string) {
	for _, d := range []string{"merged", "work"} {
		_ = os.Remove(filepath.Join(s.Home(), id, d)) // only an empty one goes
	}
}

// layerID is containers/storage's name for a layer on top of others.
func layerID(parent string, diffID digest.Digest) string {
	if parent == "" {
		return diffID.Encoded()
	}
	return digest.FromString(parent + "+" + diffID.Encoded()).Encoded()
}

// hashReader digests what is read through it.
type hashReader struct {
	r io.Reader
	h hash.Hash
}

func (d *hashReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.h.Write(p[:n])
	return n, err
}
