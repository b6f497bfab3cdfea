// SPDX-License-Identifier: Apache-2.0

package build

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Output is where the files of the target stage go instead of an image.
type Output struct {
	Kind   string    // "": an image; local: a directory; tar: an archive
	Dest   string    // path, or "-" for Stdout
	Stdout io.Writer // with Dest "-"
}

// export writes the files of a finished stage.
func (b *builder) export(ctx context.Context, top Layer) error {
	dir, release, err := b.engine.MountLayer(ctx, top)
	if err != nil {
		return err
	}
	src, err := openRoot(dir)
	if err != nil {
		return errors.Join(err, release())
	}
	w := &walker{src: src}
	err = w.add("", "")
	if err == nil {
		if b.o.Output.Kind == "local" {
			err = b.exportDir(w)
		} else {
			err = b.exportTar(w)
		}
	}
	return errors.Join(err, src.Close(), release())
}

// exportDir copies to a directory of the host; everything belongs to the user.
func (b *builder) exportDir(w *walker) error {
	if err := os.MkdirAll(b.o.Output.Dest, 0o755); err != nil {
		return err
	}
	dst, err := openRoot(b.o.Output.Dest)
	if err != nil {
		return err
	}
	defer dst.Close()
	c := newCopier(dst)
	defer c.Close()
	c.own, c.epoch = &owner{}, b.o.Epoch
	return c.copyAll(w, "/")
}

func (b *builder) exportTar(w *walker) error {
	out := b.o.Output.Stdout
	var f *os.File
	if b.o.Output.Dest != "-" {
		var err error
		if f, err = os.Create(b.o.Output.Dest); err != nil {
			return err
		}
		out = f
	}
	tw := tar.NewWriter(out)
	for i := range w.entries {
		if err := b.tarEntry(tw, w.src, &w.entries[i]); err != nil {
			return err
		}
	}
	err := tw.Close()
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return err
}

func (b *builder) tarEntry(tw *tar.Writer, src *root, e *entry) error {
	hdr := &tar.Header{
		Name: e.rel, Mode: int64(e.st.Mode & 0o7777), Uid: int(e.st.Uid), Gid: int(e.st.Gid), Linkname: e.link,
		ModTime: time.Unix(e.st.Mtim.Sec, 0), Format: tar.FormatPAX,
	}
	if b.o.Epoch != nil && hdr.ModTime.After(*b.o.Epoch) {
		hdr.ModTime = *b.o.Epoch
	}
	switch e.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		hdr.Typeflag, hdr.Name = tar.TypeDir, e.rel+"/"
		if e.rel == "" {
			hdr.Name = "./"
		}
	case unix.S_IFLNK:
		hdr.Typeflag = tar.TypeSymlink
	case unix.S_IFIFO:
		hdr.Typeflag = tar.TypeFifo
	case unix.S_IFREG:
		hdr.Typeflag, hdr.Size = tar.TypeReg, e.st.Size
	default:
		return nil
	}
	if err := tw.WriteHeader(hdr); err != nil || hdr.Typeflag != tar.TypeReg {
		return err
	}
	fd, err := src.open(e.path, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), e.path)
	defer f.Close()
	_, err = io.Copy(tw, f)
	return err
}
