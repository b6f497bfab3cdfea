// SPDX-License-Identifier: Apache-2.0

package files

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// A sparse file of a few bytes must not fill the disk.
func TestSparseBomb(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "hole"))
	if err != nil {
		t.Fatal(err)
	}
	err = f.Truncate(maxTarBytes + 1)
	f.Close()
	if err != nil {
		t.Skip(err)
	}
	data, err := exec.Command("tar", "-C", dir, "-S", "-c", "hole").Output()
	if err != nil || len(data) > 1<<20 {
		t.Skip("no tar that knows sparse files:", err)
	}
	r, err := OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Extract(r, "/", bytes.NewReader(data), ExtractOptions{}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

// Capabilities and attributes of users come along; overlay's marks do not, which
// would hide or show files of other layers.
func TestExtractXattrs(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Name: "prog", Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": string(append([]byte{1, 0, 0, 2, 0, 32}, make([]byte, 14)...)),
			"SCHILY.xattr.user.note":           "hello", "SCHILY.xattr.user.overlay.redirect": "/etc", "SCHILY.xattr.trusted.overlay.opaque": "y",
		}},
		{Name: "dir", Typeflag: tar.TypeDir, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.user.note": "dir"}},
	} {
		h.Uid, h.Gid = os.Getuid(), os.Getgid()
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Extract(root, "/", &b, ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"prog": "user.note", "dir": "user.note"}
	if os.Getuid() == 0 {
		want["prog"] = "security.capability user.note"
	}
	for name, attrs := range want {
		list := make([]byte, 1024)
		n, err := unix.Llistxattr(filepath.Join(dir, name), list)
		if err != nil {
			t.Skip(err) // a file system without them
		}
		got := strings.FieldsFunc(string(list[:n]), func(r rune) bool { return r == 0 })
		slices.Sort(got)
		if strings.Join(got, " ") != attrs {
			t.Errorf("%s: %q, want %s", name, got, attrs)
		}
	}
}

// An entry for the destination itself can set its mode, and not put something else
// in its place.
func TestExtractKeepsTheDestination(t *testing.T) {
	for _, name := range []string{".", "./."} {
		for _, h := range []tar.Header{{Typeflag: tar.TypeReg}, {Typeflag: tar.TypeSymlink, Linkname: "/etc"}, {Typeflag: tar.TypeFifo}, {Typeflag: tar.TypeLink, Linkname: "kept"}} {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			h.Name, h.Mode = name, 0o644
			h.Uid, h.Gid = os.Getuid(), os.Getgid()
			if err := errors.Join(w.WriteHeader(&h), w.Close()); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "to", "kept"), 0o755); err != nil {
				t.Fatal(err)
			}
			root, err := OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := Extract(root, "/to", &b, ExtractOptions{}); err != nil {
				t.Errorf("%q of type %q: %v", name, h.Typeflag, err)
			}
			if fi, err := os.Lstat(filepath.Join(dir, "to", "kept")); err != nil || !fi.IsDir() {
				t.Errorf("%q of type %q took the destination away: %v", name, h.Typeflag, err)
			}
			root.Close()
		}
	}
}

// What an archive is unpacked to is its whole world: no link, neither its own nor one
// that is there already, leads what follows out of it. A link to the directory does.
func TestExtractStaysInside(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"etc", "real/in"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []struct{ name, target string }{{"dest", "/real"}, {"real/in/there", "/etc"}} {
		if err := os.Symlink(l.target, filepath.Join(root, l.name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root"), 0o644); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Name: "up", Typeflag: tar.TypeSymlink, Linkname: "../../.."},
		{Name: "up/etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "abs", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		{Name: "abs/shadow", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "abs/dir", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "there/group", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "again", Typeflag: tar.TypeLink, Linkname: "up"},
		{Name: "again/etc/hosts", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "hard", Typeflag: tar.TypeLink, Linkname: "up/etc/passwd"},
		{Name: "early", Typeflag: tar.TypeSymlink, Linkname: "up/../../late/x"},
		{Name: "early/y", Typeflag: tar.TypeReg, Mode: 0o644},
	} {
		h.Uid, h.Gid = os.Getuid(), os.Getgid()
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Extract(r, "/dest/in", &b, ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/passwd", "etc/shadow", "etc/dir", "etc/group", "etc/hosts", "hard", "late/x/y"} {
		if _, err := os.Lstat(filepath.Join(root, "real/in", name)); err != nil {
			t.Error(err)
		}
	}
	ents, err := os.ReadDir(filepath.Join(root, "etc"))
	if err != nil || len(ents) != 1 {
		t.Errorf("the directory beside has %v (%v)", ents, err)
	}
	if text, _ := os.ReadFile(filepath.Join(root, "etc/passwd")); string(text) != "root" {
		t.Errorf("the file beside is %q now", text)
	}
}

// TestExtractOwnersBeyondIDs: the kernel would cut such owners to 32 bits, and make the
// file root's. Where the caller names the owner, the archive's does not count.
func TestExtractOwnersBeyondIDs(t *testing.T) {
	for _, h := range []tar.Header{{Uid: 1 << 32}, {Gid: 1 << 32}, {Uid: 1<<32 - 1}, {Gid: -1}} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		h.Name, h.Typeflag, h.Mode, h.Format = "f", tar.TypeReg, 0o644, tar.FormatGNU
		if err := errors.Join(w.WriteHeader(&h), w.Close()); err != nil {
			t.Fatal(err)
		}
		r, err := OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		err = Extract(r, "/", bytes.NewReader(b.Bytes()), ExtractOptions{})
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), `cannot unpack "f": it belongs to`) {
			t.Errorf("%d:%d: %v", h.Uid, h.Gid, err)
		}
		if _, err := r.Lstat("/f"); err == nil {
			t.Errorf("%d:%d: the file is there", h.Uid, h.Gid)
		}
		own := &Owner{os.Getuid(), os.Getgid()}
		if err := Extract(r, "/", bytes.NewReader(b.Bytes()), ExtractOptions{Owner: own}); err != nil {
			t.Errorf("%d:%d, with an owner: %v", h.Uid, h.Gid, err)
		}
	}
}

// TestExtractZeros: a long run of zeros takes no blocks.
func TestExtractZeros(t *testing.T) {
	text := append(append([]byte("head"), make([]byte, 20<<20)...), "tail"...)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text)), Uid: os.Getuid(), Gid: os.Getgid()}
	err := w.WriteHeader(&h)
	if err == nil {
		_, err = w.Write(text)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Extract(r, "/", &b, ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "f"))
	var st unix.Stat_t
	if err != nil || !bytes.Equal(got, text) || unix.Stat(filepath.Join(dir, "f"), &st) != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("%d bytes came back as %d in %d blocks, %v", len(text), len(got), st.Blocks, err)
	}
}
