// SPDX-License-Identifier: Apache-2.0

package images

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// epoch is the date of every file: the same tree always gives the same digest.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// packLayer writes the directory tree as a gzip-compressed OCI layer. A tree
// that is the upper directory of an overlay mount gets its whiteouts
// translated. Device nodes are left out: a container makes its own.
func packLayer(tree, file string) (err error) {
	out, err := os.Create(file + ".part")
	if err != nil {
		return err
	}
	defer func() {
		out.Close()
		if err == nil {
			err = os.Rename(file+".part", file)
		}
	}()
	// BestSpeed: a test image is unpacked once per script, never shipped.
	zw, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(zw)
	p := packer{tree: tree, tw: tw, links: map[uint64]string{}}
	if err := filepath.WalkDir(tree, p.add); err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return zw.Close()
}

type packer struct {
	tree  string
	tw    *tar.Writer
	links map[uint64]string // inode of a file with several names: the first name
}

func (p *packer) add(path string, d fs.DirEntry, err error) error {
	if err != nil || path == p.tree {
		return err
	}
	rel, err := filepath.Rel(p.tree, path)
	if err != nil {
		return err
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0:
		return p.tw.WriteHeader(whiteout(filepath.Join(filepath.Dir(rel), ".wh."+filepath.Base(rel))))
	case info.Mode()&(fs.ModeDevice|fs.ModeSocket|fs.ModeNamedPipe) != 0:
		return nil
	}
	h, err := p.header(path, rel, info, st)
	if err != nil {
		return err
	}
	if err := p.tw.WriteHeader(h); err != nil {
		return err
	}
	if info.IsDir() && opaque(path) {
		return p.tw.WriteHeader(whiteout(filepath.Join(rel, ".wh..wh..opq")))
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	return copyFile(p.tw, path)
}

func (p *packer) header(path, rel string, info fs.FileInfo, st *syscall.Stat_t) (*tar.Header, error) {
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = os.Readlink(path); err != nil {
			return nil, err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return nil, err
	}
	h.Name = rel
	if info.IsDir() {
		h.Name += "/"
	}
	h.Uid, h.Gid, h.Uname, h.Gname = int(st.Uid), int(st.Gid), "", ""
	h.ModTime, h.AccessTime, h.ChangeTime = epoch, time.Time{}, time.Time{}
	h.Format = tar.FormatPAX
	if info.Mode().IsRegular() && st.Nlink > 1 {
		if first, ok := p.links[st.Ino]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			p.links[st.Ino] = rel
		}
	}
	return h, nil
}

func whiteout(name string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, ModTime: epoch, Format: tar.FormatPAX}
}

func opaque(dir string) bool {
	buf := make([]byte, 1)
	n, err := syscall.Getxattr(dir, "trusted.overlay.opaque", buf)
	return err == nil && n == 1 && strings.HasPrefix(string(buf), "y")
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
