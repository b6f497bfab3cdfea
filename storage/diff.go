// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/vbatts/tar-split/tar/asm"
	tarsplit "github.com/vbatts/tar-split/tar/storage"
	"go.podman.io/storage"
	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/lockfile"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// ownFiles is a store whose layers are read back from their own files only.
//
// A layer's archive is made again from its names (tar-split) and from the files in
// its directory. The library opens these as the names say, so that an image with
// "../" in a name, or with a symbolic link in the place of a file or of a
// directory, would have a push send the user's own files.
type ownFiles struct {
	storage.Store
	s *Store
}

// Diff returns the archive of the layer to; the caller closes it. Until then the
// layer stays.
func (o ownFiles) Diff(from, to string, opt *storage.DiffOptions) (io.ReadCloser, error) {
	layer, err := o.Layer(to)
	if err != nil || from != "" {
		return o.Store.Diff(from, to, opt)
	}
	layers := filepath.Join(o.s.root, o.GraphDriverName()+"-layers")
	split, err := os.Open(filepath.Join(layers, layer.ID+".tar-split.gz"))
	if errors.Is(err, fs.ErrNotExist) {
		return o.Store.Diff(from, to, opt) // a walk through its directory
	}
	if err != nil {
		return nil, err
	}
	compression := layer.CompressionType
	if opt != nil && opt.Compression != nil {
		compression = *opt.Compression
	}
	d := &ownDiff{split: split, compression: compression}
	if err := d.start(filepath.Join(layers, "layers.lock"), o.s.layerDir(layer.ID)); err != nil {
		split.Close()
		return nil, err
	}
	return d, nil
}

// layerDir is where the files of a layer lie.
func (s *Store) layerDir(id string) string {
	if s.Driver() == "overlay" {
		return filepath.Join(s.Home(), id, "diff")
	}
	return filepath.Join(s.root, "vfs", "dir", id)
}

// ownDiff is an archive that is being made.
type ownDiff struct {
	*io.PipeReader
	split       *os.File
	root        int
	lock        *lockfile.LockFile
	compression archive.Compression
	done        chan struct{}
}

func (d *ownDiff) start(lock, dir string) error {
	names, err := gzip.NewReader(d.split)
	if err != nil {
		return errs.New(errs.Corrupt, "cannot read %s: %w", d.split.Name(), err)
	}
	if d.lock, err = lockfile.GetLockFile(lock); err != nil {
		return err
	}
	d.lock.RLock()
	if d.root, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		d.lock.Unlock()
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	r, w := io.Pipe()
	d.PipeReader, d.done = r, make(chan struct{})
	go func() {
		defer close(d.done)
		w.CloseWithError(d.write(names, w))
	}()
	return nil
}

func (d *ownDiff) write(names io.Reader, w io.Writer) error {
	out, err := archive.CompressStream(w, d.compression)
	if err != nil {
		return err
	}
	err = asm.WriteOutputTarStream(filesBelow(d.root), tarsplit.NewJSONUnpacker(names), out)
	return errors.Join(err, out.Close())
}

// Close ends the work and gives everything back.
func (d *ownDiff) Close() error {
	_ = d.PipeReader.Close() // never fails
	<-d.done
	d.lock.Unlock()
	return errors.Join(unix.Close(d.root), d.split.Close())
}

// filesBelow opens regular files below a directory as unpack made them.
type filesBelow int

// Get implements tarsplit.FileGetter.
func (root filesBelow) Get(name string) (io.ReadCloser, error) {
	clean := path.Clean("/" + name)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	dir, err := unix.Openat2(int(root), path.Dir(clean), &how)
	for errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		dir, err = unix.Openat2(int(root), path.Dir(clean), &how)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(dir)
	// Neither a link nor, waiting for ever, a FIFO.
	fd, err := unix.Openat(dir, path.Base(clean), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, errs.New(errs.Corrupt, "%q is not a regular file of its layer", name))
	}
	return f, nil
}
