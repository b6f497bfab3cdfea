// SPDX-License-Identifier: Apache-2.0

package build

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Export is where the files of the target stage go beside, or instead of, an
// image.
type Export struct {
	Kind   string    // local: a directory; tar: an archive
	Dest   string    // path, or "-" for Stdout
	Stdout io.Writer // with Dest "-"
}

// export writes the files of the finished target stages: of one as they are, of
// several platforms below one directory each.
func (b *session) export(ctx context.Context, e Export, builders []*builder) error {
	var all []*walker
	for _, one := range builders {
		dir, release, err := b.engine.MountLayer(ctx, one.stages[one.plan.target].top)
		if err != nil {
			return err
		}
		defer release() //nolint:errcheck // read-only, in the build's own namespace
		src, err := openRoot(dir)
		if err != nil {
			return err
		}
		defer src.Close()
		below := ""
		if len(builders) > 1 {
			below = strings.ReplaceAll(one.platform, "/", "_")
		}
		w := &walker{src: src}
		if err := w.add("", below); err != nil {
			return err
		}
		all = append(all, w)
	}
	if e.Kind == "local" {
		return b.exportDir(e, all)
	}
	return b.exportTar(e, all)
}

// exportDir copies to a directory of the host; everything belongs to the user.
func (b *session) exportDir(e Export, all []*walker) error {
	if err := os.MkdirAll(e.Dest, 0o755); err != nil {
		return err
	}
	dst, err := openRoot(e.Dest)
	if err != nil {
		return err
	}
	defer dst.Close()
	c := newCopier(dst)
	defer c.Close()
	c.own, c.epoch = &owner{}, b.o.Epoch
	for _, w := range all {
		if err := c.copyAll(w, "/"); err != nil {
			return err
		}
	}
	return nil
}

func (b *session) exportTar(e Export, all []*walker) error {
	out := e.Stdout
	var f *os.File
	if e.Dest != "-" {
		var err error
		if f, err = os.Create(e.Dest); err != nil {
			return err
		}
		out = f
	}
	tw := tar.NewWriter(out)
	for _, w := range all {
		for i := range w.entries {
			if err := b.tarEntry(tw, w.src, &w.entries[i]); err != nil {
				return err
			}
		}
	}
	err := tw.Close()
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return err
}

func (b *session) tarEntry(tw *tar.Writer, src *root, e *entry) error {
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
