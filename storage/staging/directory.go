// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/storage/pack"
	"github.com/proa-containers/proa/storage/unpack"
)

// Directory moves a directory in: nothing is copied, the archive that it would be
// is only computed for its digest and for tar-split.
type Directory struct {
	Dir     string
	Options pack.Options
	DiffID  digest.Digest // of that archive, once it is in
}

// Close implements drivers.Differ.
func (d *Directory) Close() error { return nil }

// ApplyDiff implements drivers.Differ.
func (d *Directory) ApplyDiff(dest string, _ *archive.TarOptions, do *drivers.DifferOptions) (drivers.DriverWithDifferOutput, error) {
	out := drivers.DriverWithDifferOutput{Differ: d, Target: dest}
	// os.Rename refuses to replace even an empty directory.
	if err := unix.Rename(d.Dir, dest); err != nil {
		return out, err
	}
	split, err := openUnnamed(do.StagingDirectory)
	if err != nil {
		return out, err
	}
	sum := sha256.New()
	pr, pw := io.Pipe()
	go func() {
		// A write to a pipe waits for its reader: headers of small files go
		// through together.
		w := bufio.NewWriterSize(io.MultiWriter(sum, pw), 128<<10)
		err := pack.Tar(w, dest, d.Options)
		pw.CloseWithError(errors.Join(err, w.Flush()))
	}()
	res, err := unpack.Record(bufio.NewReaderSize(pr, 128<<10), split)
	pr.CloseWithError(err)
	if err != nil || !res.SplitOK {
		split.Close()
		split = nil
	}
	if err != nil {
		return out, err
	}
	d.DiffID = digest.NewDigest(digest.SHA256, sum)
	out.Size, out.TarSplit, out.UIDs, out.GIDs = res.Size, split, res.UIDs, res.GIDs
	if fi, err := os.Stat(dest); err == nil {
		// The directory keeps the mode that its container gave it.
		m := fi.Mode().Perm()
		out.RootDirMode = &m
	}
	return out, nil
}
