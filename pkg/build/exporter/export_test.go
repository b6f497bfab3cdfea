// SPDX-License-Identifier: Apache-2.0

package exporter

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/files"
)

// An archive that cannot be written to its end leaves the one of before, and
// nothing beside it; one that can replaces the target of a link, not the link.
func TestExportTarWhole(t *testing.T) {
	src, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "f"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := files.OpenRoot(src)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	w := &files.Walker{Root: root}
	if err := w.Add("", ""); err != nil {
		t.Fatal(err)
	}
	dest, link := filepath.Join(out, "real.tar"), filepath.Join(out, "link.tar")
	if err := os.WriteFile(dest, []byte("the one of before"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.tar", link); err != nil {
		t.Fatal(err)
	}
	gone := files.Entry{Path: "gone", Rel: "gone", Stat: unix.Stat_t{Mode: unix.S_IFREG, Size: 1}}
	broken := &files.Walker{Root: root, Entries: append(w.Entries[:len(w.Entries):len(w.Entries)], gone)}
	if err := Write(Target{Kind: Tar, Dest: link}, []*files.Walker{broken}, nil); err == nil {
		t.Fatal("a file that is not there was written")
	}
	if text, err := os.ReadFile(dest); string(text) != "the one of before" {
		t.Fatalf("of the archive of before are left %d bytes, %v", len(text), err)
	}
	if err := Write(Target{Kind: Tar, Dest: link}, []*files.Walker{w}, nil); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(dest); err != nil || fi.Size() < 1024 || fi.Mode() != 0o640 {
		t.Fatalf("the archive is %v, %v", fi, err)
	}
	if fi, err := os.Lstat(link); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Fatalf("the link is %v, %v", fi, err)
	}
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	fresh := filepath.Join(t.TempDir(), "new.tar")
	if err := Write(Target{Kind: Tar, Dest: fresh}, []*files.Walker{w}, nil); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(fresh); err != nil || fi.Mode() != 0o640 {
		t.Fatalf("with umask 027 the archive is %v, %v", fi, err)
	}
	if left, _ := os.ReadDir(out); len(left) != 2 {
		t.Fatalf("left behind: %v", left)
	}
}

// What is written to a directory belongs to the user: a program that was set-uid for
// its owner in the image would run as the user for everybody. An archive has it all.
func TestExportDirUnset(t *testing.T) {
	src := t.TempDir()
	for name, mode := range map[string]uint32{"uid": 0o4755, "gid": 0o2755, "plain": 0o755, "sticky": 0o1777} {
		p := filepath.Join(src, name)
		if err := os.WriteFile(p, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	root, err := files.OpenRoot(src)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	w := &files.Walker{Root: root}
	if err := w.Add("", ""); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if err := Write(Target{Kind: Dir, Dest: out}, []*files.Walker{w}, nil); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("only root, of whatever namespace, gives files away")
		}
		t.Fatal(err)
	}
	for name, mode := range map[string]uint32{"uid": 0o755, "gid": 0o755, "plain": 0o755, "sticky": 0o1777} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(out, name), &st); err != nil || st.Mode&0o7777 != mode {
			t.Errorf("%s has mode %o (%v)", name, st.Mode&0o7777, err)
		}
	}
	file := filepath.Join(t.TempDir(), "out.tar")
	if err := Write(Target{Kind: Tar, Dest: file}, []*files.Walker{w}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatal("the archive lacks uid: ", err)
		}
		if h.Name == "uid" {
			if h.Mode != 0o4755 {
				t.Errorf("in the archive uid has mode %o", h.Mode)
			}
			return
		}
	}
}
