// SPDX-License-Identifier: Apache-2.0

// Package staging fills the staging directory of a layer-to-be, in the ways that
// content comes: as an archive, as a directory, as another layer's files. Nothing
// of it takes a lock of the store; what becomes a layer is the caller's matter.
package staging

import (
	"io"
	"os"

	"go.podman.io/storage"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/storage/unpack"
)

// Fill lets d fill a staging directory of st. The caller makes a layer of what is
// returned, or gives it back to the store; after an error nothing is left.
func Fill(st storage.Store, d drivers.Differ) (*drivers.DriverWithDifferOutput, error) {
	out, err := st.PrepareStagedLayer(nil, d)
	if err != nil {
		if out != nil && out.Target != "" {
			_ = st.CleanupStagedLayer(out)
		}
		return nil, err
	}
	return out, nil
}

// Archive unpacks an uncompressed archive, which is not trusted.
type Archive struct {
	R     io.Reader
	Unset int // afterwards: files without their set-uid or set-gid bit, since there is one id only
}

// Close implements drivers.Differ.
func (d *Archive) Close() error { return nil }

// ApplyDiff implements drivers.Differ.
func (d *Archive) ApplyDiff(dest string, o *archive.TarOptions, do *drivers.DifferOptions) (drivers.DriverWithDifferOutput, error) {
	split, err := openUnnamed(do.StagingDirectory)
	if err != nil {
		return drivers.DriverWithDifferOutput{Target: dest}, err
	}
	out := drivers.DriverWithDifferOutput{Differ: d, Target: dest}
	res, err := unpack.Tar(dest, d.R, unpack.Options{
		UserXattr: o.InUserNS, NoDevices: o.InUserNS, IgnoreChown: o.IgnoreChownErrors, Split: split,
	})
	if err != nil {
		split.Close()
		return out, err
	}
	d.Unset = res.Unset
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
