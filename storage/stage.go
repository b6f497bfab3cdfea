// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/pkg/compression"
	"go.podman.io/storage"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/unpack"
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
}

// maxWindow is the memory that a zstd stream may ask for: as much as the zstd
// program grants.
const maxWindow = 128 << 20

// stage unpacks an archive (compressed or not) for st. Nothing takes the
// store's locks, so any number of layers can be staged at once. The stream is
// read to its end; its own verification is the caller's.
func (s *Store) stage(st storage.Store, r io.Reader, blob digest.Digest) (*staged, error) {
	sum := &hashReader{h: sha256.New()}
	plain, closer, err := decompress(r)
	if err != nil {
		return nil, err
	}
	defer closer()
	sum.r = plain
	out := &staged{blob: blob}
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
		out.out.UncompressedDigest, out.out.CompressedDigest = out.diffID, blob
	}
	return out, nil
}

func (g *staged) unpackInto(st storage.Store, r io.Reader) error {
	d := &differ{r: r}
	out, err := st.PrepareStagedLayer(nil, d)
	if err != nil {
		if out != nil && out.Target != "" {
			_ = st.CleanupStagedLayer(out)
		}
		return err
	}
	g.out, g.size = out, out.Size
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

// differ is how containers/storage lets others fill a staging directory.
type differ struct{ r io.Reader }

func (d *differ) Close() error { return nil }

func (d *differ) ApplyDiff(dest string, o *archive.TarOptions, do *drivers.DifferOptions) (drivers.DriverWithDifferOutput, error) {
	split, err := openUnnamed(do.StagingDirectory)
	if err != nil {
		return drivers.DriverWithDifferOutput{Target: dest}, err
	}
	out := drivers.DriverWithDifferOutput{Differ: d, Target: dest}
	res, err := unpack.Tar(dest, d.r, unpack.Options{
		UserXattr: o.InUserNS, NoDevices: o.InUserNS, IgnoreChown: o.IgnoreChownErrors, Split: split,
	})
	if err != nil {
		split.Close()
		return out, err
	}
	out.Size, out.RootDirMode, out.UIDs, out.GIDs = res.Size, res.RootMode, res.UIDs, res.GIDs
	out.TarSplit = split
	if !res.SplitOK {
		split.Close()
		out.TarSplit = nil
	}
	return out, nil
}

// openUnnamed makes a file that vanishes with its descriptor.
func openUnnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir), nil
	}
	f, err := os.CreateTemp(dir, "split-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
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
	o := &storage.LayerOptions{Flags: map[string]any{flagLayer: kind}}
	if g.out != nil {
		out := g.out
		_, err = st.ApplyStagedLayer(storage.ApplyStagedLayerOptions{
			ID: id, ParentLayer: parent, DiffOutput: out, LayerOptions: o,
		})
		if err == nil {
			g.out = nil
			_ = os.RemoveAll(strings.TrimSuffix(out.Target, "/dir"))
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
		_ = os.Remove(filepath.Join(s.home(), id, d)) // only an empty one goes
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

// decompress finds out how r is compressed and returns the plain stream, which
// ends where r does.
func decompress(r io.Reader) (io.Reader, func(), error) {
	br := bufio.NewReaderSize(r, 256<<10)
	head, err := br.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, errs.New(errs.Corrupt, "cannot decompress: %w", err)
		}
		return ahead(z, br)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(br, zstd.WithDecoderMaxMemory(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, errs.New(errs.Corrupt, "cannot decompress: %w", err)
		}
		return ahead(z.IOReadCloser(), br)
	}
	dec, in, err := compression.DetectCompression(br)
	if err != nil {
		return nil, nil, err
	}
	if dec == nil {
		return in, func() {}, nil
	}
	z, err := dec(in)
	if err != nil {
		return nil, nil, errs.New(errs.Corrupt, "cannot decompress: %w", err)
	}
	return ahead(z, in)
}

// ahead decompresses in a goroutine of its own, one buffer in front of the
// reader, and afterwards reads the rest of the compressed stream, so that its
// digest is complete.
func ahead(z io.ReadCloser, rest io.Reader) (io.Reader, func(), error) {
	a := &aheadReader{full: make(chan chunk, 3), free: make(chan []byte, 4), stop: make(chan struct{}), done: make(chan struct{})}
	for range cap(a.free) {
		a.free <- make([]byte, 256<<10)
	}
	go a.run(z, rest)
	return a, func() {
		close(a.stop)
		<-a.done
		z.Close()
	}, nil
}

type chunk struct {
	b   []byte
	err error
}

type aheadReader struct {
	full chan chunk
	free chan []byte
	stop chan struct{}
	done chan struct{}
	cur  []byte // the unread part of buf
	buf  []byte
	err  error
}

func (a *aheadReader) run(z io.Reader, rest io.Reader) {
	defer close(a.done)
	for {
		var b []byte
		select {
		case b = <-a.free:
		case <-a.stop:
			return
		}
		n, err := io.ReadFull(z, b)
		if errors.Is(err, io.ErrUnexpectedEOF) && n > 0 {
			// The end of the stream or of a truncated one: read again to know.
			var one [1]byte
			if m, again := z.Read(one[:]); m == 0 && errors.Is(again, io.EOF) {
				err = io.EOF
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if _, rerr := io.Copy(io.Discard, rest); rerr != nil {
				err = rerr
			}
		case err != nil && errs.KindOf(err) == errs.Internal:
			err = errs.New(errs.Corrupt, "cannot decompress: %w", err)
		}
		select {
		case a.full <- chunk{b[:n], err}:
		case <-a.stop:
			return
		}
		if err != nil {
			return
		}
	}
}

func (a *aheadReader) Read(p []byte) (int, error) {
	for len(a.cur) == 0 {
		if a.buf != nil {
			a.free <- a.buf[:cap(a.buf)]
			a.buf = nil
		}
		if a.err != nil {
			return 0, a.err
		}
		c := <-a.full
		a.cur, a.buf, a.err = c.b, c.b, c.err
	}
	n := copy(p, a.cur)
	a.cur = a.cur[n:]
	return n, nil
}

// verifier checks length and digest of a blob as it is read, before its reader
// sees the end.
type verifier struct {
	ctx  context.Context
	r    io.Reader
	h    hash.Hash
	want digest.Digest
	size int64 // -1: unknown
	n    int64
	seen func(n int64)
}

func newVerifier(ctx context.Context, r io.Reader, want digest.Digest, size int64, seen func(int64)) (*verifier, error) {
	if err := want.Validate(); err != nil {
		return nil, errs.New(errs.Corrupt, "invalid digest %q: %w", want, err)
	}
	return &verifier{ctx: ctx, r: r, h: want.Algorithm().Hash(), want: want, size: size, seen: seen}, nil
}

func (v *verifier) Read(p []byte) (int, error) {
	if err := v.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := v.r.Read(p)
	v.h.Write(p[:n])
	v.n += int64(n)
	if v.seen != nil {
		v.seen(v.n)
	}
	if v.size >= 0 && v.n > v.size {
		return n, errs.New(errs.Corrupt, "blob %s is longer than the %d bytes that the manifest says", v.want, v.size)
	}
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if v.size >= 0 && v.n < v.size {
		return n, errs.New(errs.Corrupt, "blob %s ends after %d of %d bytes: %w", v.want, v.n, v.size, io.ErrUnexpectedEOF)
	}
	if got := digest.NewDigest(v.want.Algorithm(), v.h); got != v.want {
		return n, errs.New(errs.Corrupt, "blob %s has the digest %s", v.want, got)
	}
	return n, err
}
