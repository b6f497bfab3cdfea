// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"go.podman.io/storage"
	drivers "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/storage/pack"
)

var when = time.Unix(1_000_000, 0)

func tarOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		h.Uid, h.Gid, h.ModTime = os.Getuid(), os.Getgid(), when
		body := []byte(nil)
		if h.Typeflag == tar.TypeReg {
			body = []byte("text of " + h.Name)
			h.Size = int64(len(body))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sample(t *testing.T) []byte {
	return tarOf(t, tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o711}, tar.Header{Name: "d/f", Typeflag: tar.TypeReg, Mode: 0o640},
		tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "d/f", Mode: 0o777})
}

// stage is what the store has made when it asks for the content. Its own files go
// without a name.
type stage struct{ dest, dir string }

func newStage(t *testing.T) stage {
	t.Helper()
	s := stage{dir: t.TempDir()}
	s.dest = filepath.Join(s.dir, "dir")
	if err := os.Mkdir(s.dest, 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s stage) fill(t *testing.T, d drivers.Differ) (drivers.DriverWithDifferOutput, error) {
	t.Helper()
	out, err := d.ApplyDiff(s.dest, &archive.TarOptions{}, &drivers.DifferOptions{StagingDirectory: s.dir})
	if out.TarSplit != nil {
		t.Cleanup(func() { out.TarSplit.Close() })
	}
	if out.Target != s.dest {
		t.Errorf("the target %q: the store could not clear it away", out.Target)
	}
	if ents, _ := os.ReadDir(s.dir); len(ents) != 1 {
		t.Errorf("beside the content: %v", ents)
	}
	return out, err
}

func textOf(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// splitOf is the description of an archive as the store keeps it.
func splitOf(t *testing.T, f *os.File) string {
	t.Helper()
	if f == nil {
		t.Fatal("the archive has no description")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.Copy(z, f); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "split.gz")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestArchive(t *testing.T) {
	raw := sample(t)
	s := newStage(t)
	out, err := s.fill(t, &Archive{R: bytes.NewReader(raw)})
	if err != nil || out.Size != int64(len(raw)) || out.TarSplit == nil {
		t.Fatalf("%+v %v", out, err)
	}
	if got := textOf(t, filepath.Join(s.dest, "l")); got != "text of d/f" {
		t.Error(got)
	}
	for what, bad := range map[string][]byte{
		"cut short":  raw[:700],
		"no archive": bytes.Repeat([]byte("no archive"), 100),
	} {
		s := newStage(t)
		if out, err := s.fill(t, &Archive{R: bytes.NewReader(bad)}); err == nil || out.TarSplit != nil {
			t.Errorf("%s: %+v %v", what, out, err)
		}
	}
	s = newStage(t) // fill looks beside it
	if _, err := s.fill(t, &Archive{R: bytes.NewReader(tarOf(t, tar.Header{Name: "../out", Typeflag: tar.TypeReg, Mode: 0o600}))}); err != nil {
		t.Error(err)
	}
	if got := textOf(t, filepath.Join(s.dest, "out")); got != "text of ../out" {
		t.Error(got)
	}
}

func TestDirectory(t *testing.T) {
	from := filepath.Join(t.TempDir(), "upper")
	if err := os.MkdirAll(filepath.Join(from, "a/b"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "a/b/f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(from, 0o751); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := pack.Tar(&b, from, pack.Options{}); err != nil {
		t.Fatal(err)
	}
	s, d := newStage(t), &Directory{Dir: from}
	out, err := s.fill(t, d)
	if err != nil || d.DiffID != digest.FromBytes(b.Bytes()) || out.Size != int64(b.Len()) || out.TarSplit == nil {
		t.Errorf("%+v %v, digest %s", out, err, d.DiffID)
	}
	if out.RootDirMode == nil || *out.RootDirMode != 0o751 {
		t.Error("the mode of the root directory is lost")
	}
	if got := textOf(t, filepath.Join(s.dest, "a/b/f")); got != "x" {
		t.Error(got)
	}
	if _, err := os.Lstat(from); !os.IsNotExist(err) {
		t.Error("it was copied, not moved:", err)
	}
	if _, err := newStage(t).fill(t, &Directory{Dir: from}); err == nil {
		t.Error("there is nothing to move")
	}
}

func TestLinks(t *testing.T) {
	raw := sample(t)
	first := newStage(t)
	out, err := first.fill(t, &Archive{R: bytes.NewReader(raw)})
	if err != nil {
		t.Fatal(err)
	}
	split := splitOf(t, out.TarSplit)
	marked := unix.Lsetxattr(filepath.Join(first.dest, "d"), "user.mark", []byte("own"), 0) == nil
	l := &storage.Layer{UncompressedSize: out.Size, UIDs: []uint32{1, 2}, GIDs: []uint32{3}}
	s := newStage(t)
	again, err := s.fill(t, &Links{Src: first.dest, Split: split, Layer: l})
	if err != nil || again.Size != out.Size || len(again.UIDs) != 2 || len(again.GIDs) != 1 {
		t.Fatalf("%+v %v", again, err)
	}
	if a, b := textOf(t, split), textOf(t, splitOf(t, again.TarSplit)); len(a) == 0 || len(b) == 0 {
		t.Error("no description")
	}
	stat := func(dir, name string) (st unix.Stat_t) {
		t.Helper()
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	for _, name := range []string{"d/f", "l"} {
		if a, b := stat(first.dest, name), stat(s.dest, name); a.Ino != b.Ino {
			t.Errorf("%s is no hard link", name)
		}
	}
	a, b := stat(first.dest, "d"), stat(s.dest, "d")
	if a.Ino == b.Ino || a.Mode != b.Mode || a.Mtim != b.Mtim || b.Mtim.Sec != when.Unix() {
		t.Errorf("a directory: %+v %+v", a, b)
	}
	if marked {
		val := make([]byte, 8)
		if n, err := unix.Lgetxattr(filepath.Join(s.dest, "d"), "user.mark", val); err != nil || string(val[:n]) != "own" {
			t.Error("the directory's attributes:", err)
		}
	}
	if _, err := newStage(t).fill(t, &Links{Src: first.dest, Split: filepath.Join(t.TempDir(), "none"), Layer: l}); err == nil {
		t.Error("without a description")
	}
}

// The mode that an archive gives the root directory is not the links' to tell.
func TestLinksOwnRoot(t *testing.T) {
	raw := tarOf(t, tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o711}, tar.Header{Name: "./f", Typeflag: tar.TypeReg, Mode: 0o600})
	first := newStage(t)
	out, err := first.fill(t, &Archive{R: bytes.NewReader(raw)})
	if err != nil {
		t.Fatal(err)
	}
	again, err := newStage(t).fill(t, &Links{Src: first.dest, Split: splitOf(t, out.TarSplit), Layer: &storage.Layer{}})
	if !errors.Is(err, errOwnRoot) || again.TarSplit != nil {
		t.Error(err)
	}
}
