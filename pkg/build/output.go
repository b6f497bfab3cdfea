// SPDX-License-Identifier: Apache-2.0

package build

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/build/files"
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
	var all []*files.Walker
	for _, one := range builders {
		dir, release, err := b.engine.MountLayer(ctx, one.stages[one.plan.Target].top)
		if err != nil {
			return err
		}
		defer release() //nolint:errcheck // read-only, in the build's own namespace
		src, err := files.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer src.Close()
		below := ""
		if len(builders) > 1 {
			below = strings.ReplaceAll(one.platform, "/", "_")
		}
		w := &files.Walker{Root: src}
		if err := w.Add("", below); err != nil {
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
func (b *session) exportDir(e Export, all []*files.Walker) error {
	if err := os.MkdirAll(e.Dest, 0o755); err != nil {
		return err
	}
	dst, err := files.OpenRoot(e.Dest)
	if err != nil {
		return err
	}
	defer dst.Close()
	c := files.NewCopier(dst)
	defer c.Close()
	c.Owner, c.Epoch = &files.Owner{}, b.o.Epoch
	for _, w := range all {
		if err := c.CopyAll(w, "/"); err != nil {
			return err
		}
	}
	return nil
}

func (b *session) exportTar(e Export, all []*files.Walker) error {
	if e.Dest == "-" {
		return b.writeTar(e.Stdout, all)
	}
	return atomicfile.Output(e.Dest, 0o666&^umask(), func(w io.Writer) error { return b.writeTar(w, all) })
}

// umask is the process's, read without changing it for others: setting it is the
// only other way to learn it. Unknown, nobody else may read.
func umask() os.FileMode {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(text), "\nUmask:")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(line), 8, 32)
	if err != nil {
		return 0o077
	}
	return os.FileMode(mask).Perm()
}

func (b *session) writeTar(out io.Writer, all []*files.Walker) error {
	tw := tar.NewWriter(out)
	for _, w := range all {
		for i := range w.Entries {
			if err := b.tarEntry(tw, w.Root, &w.Entries[i]); err != nil {
				return err
			}
		}
	}
	return tw.Close()
}

func (b *session) tarEntry(tw *tar.Writer, src *files.Root, e *files.Entry) error {
	hdr := &tar.Header{
		Name: e.Rel, Mode: int64(e.Stat.Mode & 0o7777), Uid: int(e.Stat.Uid), Gid: int(e.Stat.Gid), Linkname: e.Link,
		ModTime: time.Unix(e.Stat.Mtim.Sec, 0), Format: tar.FormatPAX,
	}
	if b.o.Epoch != nil && hdr.ModTime.After(*b.o.Epoch) {
		hdr.ModTime = *b.o.Epoch
	}
	switch e.Stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		hdr.Typeflag, hdr.Name = tar.TypeDir, e.Rel+"/"
		if e.Rel == "" {
			hdr.Name = "./"
		}
	case unix.S_IFLNK:
		hdr.Typeflag = tar.TypeSymlink
	case unix.S_IFIFO:
		hdr.Typeflag = tar.TypeFifo
	case unix.S_IFREG:
		hdr.Typeflag, hdr.Size = tar.TypeReg, e.Stat.Size
	default:
		return nil
	}
	if err := tw.WriteHeader(hdr); err != nil || hdr.Typeflag != tar.TypeReg {
		return err
	}
	fd, err := src.Open(e.Path, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), e.Path)
	defer f.Close()
	_, err = io.Copy(tw, f)
	return err
}
