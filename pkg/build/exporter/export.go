// SPDX-License-Identifier: Apache-2.0

// Package exporter writes the files of a finished build to a directory or an
// archive of the host.
package exporter

import (
	"archive/tar"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/build/files"
)

// Target is where the files go.
type Target struct {
	Kind   Kind
	Dest   string    // path; of Tar also "-" for Stdout
	Stdout io.Writer // with Dest "-"
}

// Kind says what is made.
type Kind string

// The kinds of targets.
const (
	Dir Kind = "local" // a directory, made where it is missing
	Tar Kind = "tar"   // an archive
)

// Write writes what the walkers found. With epoch no file is newer than it. After a
// failure an archive of before is still there.
func Write(to Target, all []*files.Walker, epoch *time.Time) error {
	w := writer{all, epoch}
	if to.Kind == Dir {
		return w.dir(to.Dest)
	}
	if to.Dest == "-" {
		return w.archive(to.Stdout)
	}
	return w.file(to.Dest)
}

type writer struct {
	all   []*files.Walker
	epoch *time.Time
}

// dir copies to a directory of the host; everything belongs to the user, and no program
// runs as the user for others.
func (w *writer) dir(dest string) error {
	if err := os.MkdirAll(dest, 0o755); err != nil {
		return err
	}
	dst, err := files.OpenRoot(dest)
	if err != nil {
		return err
	}
	defer dst.Close()
	c := files.NewCopier(dst)
	defer c.Close()
	c.Owner, c.Unset, c.Epoch = &files.Owner{}, true, w.epoch
	for _, found := range w.all {
		if err := c.CopyAll(found, "/"); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) file(dest string) error {
	return atomicfile.Output(dest, 0o666&^umask(), w.archive)
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

func (w *writer) archive(out io.Writer) error {
	tw := tar.NewWriter(out)
	for _, found := range w.all {
		links := map[inode]string{}
		for i := range found.Entries {
			if err := w.entry(tw, found.Root, &found.Entries[i], links); err != nil {
				return err
			}
		}
	}
	return tw.Close()
}

type inode struct{ dev, ino uint64 }

// entry writes one file. links has the first name of each with several.
func (w *writer) entry(tw *tar.Writer, src *files.Root, e *files.Entry, links map[inode]string) error {
	hdr := &tar.Header{
		Name: e.Rel, Mode: int64(e.Stat.Mode & 0o7777), Uid: int(e.Stat.Uid), Gid: int(e.Stat.Gid), Linkname: e.Link,
		ModTime: time.Unix(e.Stat.Mtim.Sec, 0), Format: tar.FormatPAX,
	}
	if w.epoch != nil && hdr.ModTime.After(*w.epoch) {
		hdr.ModTime = *w.epoch
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
		if e.Stat.Nlink > 1 {
			key := inode{e.Stat.Dev, e.Stat.Ino}
			if first, ok := links[key]; ok {
				hdr.Typeflag, hdr.Size, hdr.Linkname = tar.TypeLink, 0, first
			} else {
				links[key] = e.Rel
			}
		}
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
