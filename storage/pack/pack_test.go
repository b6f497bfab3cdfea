// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/overlay"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes files in dir; a name that ends in "/" is a directory, one with a
// "%" in front a device 0/0.
func write(t *testing.T, dir string, names ...string) string {
	t.Helper()
	for _, n := range names {
		device := n[0] == '%'
		if device {
			n = n[1:]
		}
		p := filepath.Join(dir, n)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch {
		case n[len(n)-1] == '/':
			must(t, os.MkdirAll(p, 0o755))
		case device:
			must(t, unix.Mknod(p, unix.S_IFCHR, 0))
		default:
			must(t, os.WriteFile(p, []byte("text"), 0o600))
		}
	}
	return dir
}

func packed(t *testing.T, dir string, o Options) (names []string, attrs map[string]string) {
	t.Helper()
	var b bytes.Buffer
	must(t, Tar(&b, dir, o))
	attrs = map[string]string{}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, attrs
		}
		must(t, err)
		names = append(names, h.Name)
		for k, v := range h.PAXRecords {
			attrs[h.Name+" "+k] = v
		}
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// fuseUpper is what fuse-overlayfs leaves: directories that were made, one
// deleted and made again, files deleted in either way.
func fuseUpper(t *testing.T) string {
	dir := write(t, t.TempDir(), "new/.wh..wh..opq", "%new/.wh..opq", "new/f", "again/.wh..wh..opq", "again/f",
		"attr/f", "%etc/gone", "etc/.wh.other",
		"etc/kept", ".wh..wh.orphan")
	must(t, unix.Setxattr(filepath.Join(dir, "attr"), "user.fuseoverlayfs.opaque", []byte("y"), 0))
	must(t, unix.Setxattr(filepath.Join(dir, "new"), "user.fuseoverlayfs.opaque", []byte("y"), 0))
	must(t, unix.Setxattr(filepath.Join(dir, "new/f"), "user.fuseoverlayfs.origin", []byte("x"), 0))
	must(t, unix.Setxattr(filepath.Join(dir, "new/f"), "user.note", []byte("mine"), 0))
	return dir
}

var fuseLayer = []string{"again/", "again/.wh..wh..opq", "again/f", "attr/", "attr/.wh..wh..opq", "attr/f",
	"etc/", "etc/.wh.other", "etc/.wh.gone", "etc/kept",
	"new/", "new/.wh..wh..opq", "new/f"}

func TestFuseMarks(t *testing.T) {
	names, attrs := packed(t, fuseUpper(t), Options{Layer: true, Fuse: true})
	same(t, "layer", names, fuseLayer)
	if want := map[string]string{"new/f SCHILY.xattr.user.note": "mine"}; !reflect.DeepEqual(attrs, want) {
		t.Error(attrs)
	}
}

// A directory that becomes a lower one has the kernel's marks only.
func TestCleanedFuseMarks(t *testing.T) {
	dir := fuseUpper(t)
	when := time.Unix(1e9, 0)
	must(t, os.Chtimes(filepath.Join(dir, "new"), when, when))
	names, _ := packed(t, dir, Options{Layer: true, Fuse: true, Clean: true})
	same(t, "layer", names, fuseLayer)
	var left []string
	must(t, filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, p); rel != "." {
			left = append(left, rel)
		}
		return err
	}))
	same(t, "directory", left, []string{"again", "again/f", "attr", "attr/f", "etc", "etc/gone", "etc/kept",
		"etc/other", "new", "new/f"})
	for _, d := range []string{"again", "attr", "new"} {
		f, err := os.Open(filepath.Join(dir, d))
		must(t, err)
		if !overlay.HasOpaque(int(f.Fd()), false) {
			t.Errorf("%s is not opaque to the kernel", d)
		}
		f.Close()
	}
	for _, w := range []string{"etc/gone", "etc/other"} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, w), &st))
		if m, _ := overlay.MarkOf(w, &st, false); m != overlay.Whiteout {
			t.Errorf("%s is no whiteout to the kernel", w)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "new")); err != nil || !st.ModTime().Equal(when) {
		t.Error("the directory's time:", st.ModTime(), err)
	}
	if n, err := unix.Listxattr(filepath.Join(dir, "new/f"), nil); err != nil || n != len("user.note")+1 {
		t.Error("attributes are left:", n, err)
	}
	same(t, "again", first(packed(t, dir, Options{Layer: true})), []string{"again/", "again/.wh..wh..opq",
		"again/f", "attr/", "attr/.wh..wh..opq", "attr/f",
		"etc/", "etc/.wh.gone", "etc/kept", "etc/.wh.other", "new/", "new/.wh..wh..opq", "new/f"})
}

func first(names []string, _ map[string]string) []string { return names }

// To the kernel a name is only a name. In a layer it would hide another one.
func TestNamesThatLookLikeMarks(t *testing.T) {
	dir := write(t, t.TempDir(), "a/.wh.b", "a/.wh.d/in", "a/b", ".wh..wh..opq")
	same(t, "files", first(packed(t, dir, Options{})), []string{".wh..wh..opq", "a/", "a/.wh.b", "a/.wh.d/",
		"a/.wh.d/in", "a/b"})
	same(t, "layer", first(packed(t, dir, Options{Layer: true})), []string{"a/", "a/b"})
	if _, err := os.Stat(filepath.Join(dir, "a/.wh.b")); err != nil {
		t.Error("a container's own directory was changed:", err)
	}
	same(t, "cleaned", first(packed(t, dir, Options{Layer: true, Clean: true})), []string{"a/", "a/b"})
	if ents, err := os.ReadDir(filepath.Join(dir, "a")); err != nil || len(ents) != 1 {
		t.Error("left:", ents, err)
	}
}

// A container may give its directories the attribute that overlays write, and
// a mount with other marks shows it. In an archive of the files it is no file.
func TestOpaqueOnlyInLayers(t *testing.T) {
	dir := write(t, t.TempDir(), "a/f")
	must(t, unix.Setxattr(filepath.Join(dir, "a"), "user.overlay.opaque", []byte("y"), 0))
	same(t, "files", first(packed(t, dir, Options{})), []string{"a/", "a/f"})
	same(t, "layer", first(packed(t, dir, Options{Layer: true})), []string{"a/", "a/.wh..wh..opq", "a/f"})
}

func changes(t *testing.T, upper string, fuse bool, lowers ...string) (out []string) {
	t.Helper()
	list, err := Changes(upper, lowers, fuse)
	must(t, err)
	for _, c := range list {
		out = append(out, c.String())
	}
	return out
}

func TestChanges(t *testing.T) {
	low := write(t, t.TempDir(), "etc/gone", "etc/other", "etc/kept", "again/old", "attr/old", "hidden/f", "file",
		"dir/f")
	mid := write(t, t.TempDir(), "etc/mid", "%hidden", "hid/x", "dir/g")
	must(t, unix.Setxattr(filepath.Join(mid, "dir"), overlay.OpaqueXattr(), []byte("y"), 0))
	upper := fuseUpper(t)
	want := []string{"C /again", "A /again/f", "D /again/old", "C /attr", "A /attr/f", "D /attr/old", "C /etc",
		"D /etc/gone", "C /etc/kept", "D /etc/other",
		"A /new", "A /new/f"}
	same(t, "fuse-overlayfs", changes(t, upper, true, mid, low), want)
	upper = write(t, t.TempDir(), "hidden/f", "file/now", "dir/f", "dir/g", "%dir/none", ".wh.x", "%etc")
	same(t, "the kernel", changes(t, upper, false, mid, low), []string{"A /.wh.x", "C /dir", "A /dir/f",
		"C /dir/g", "D /etc", "C /file", "A /file/now",
		"A /hidden", "A /hidden/f"})
	if _, err := Changes(filepath.Join(upper, "none"), nil, false); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

func TestCompare(t *testing.T) {
	old := write(t, t.TempDir(), "same/f", "mode", "text", "time", "link/f", "attr", "gone/f", "dir/f", "deep/er/f")
	dir := write(t, t.TempDir(), "same/f", "mode", "text", "time", "attr", "dir", "made/f", "deep/er/f", "deep/er/g")
	must(t, os.Chmod(filepath.Join(dir, "mode"), 0o640))
	must(t, os.WriteFile(filepath.Join(dir, "text"), []byte("longer text"), 0o600))
	must(t, os.Symlink("a", filepath.Join(dir, "link")))
	must(t, unix.Setxattr(filepath.Join(dir, "attr"), "user.note", []byte("x"), 0))
	when := time.Unix(1e9, 5e8)
	for _, d := range []string{old, dir} {
		must(t, filepath.WalkDir(d, func(p string, _ os.DirEntry, err error) error {
			must(t, err)
			ts := unix.NsecToTimespec(when.UnixNano())
			return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
		}))
	}
	must(t, os.Chtimes(filepath.Join(dir, "time"), when, when.Add(time.Minute)))
	list, err := Compare(dir, old)
	must(t, err)
	var got []string
	for _, c := range list {
		got = append(got, c.String())
	}
	same(t, "changes", got, []string{"C /attr", "C /deep", "C /deep/er", "A /deep/er/g", "C /dir", "D /gone",
		"C /link", "A /made", "A /made/f", "C /mode",
		"C /text", "C /time"})
	if _, err := Compare(dir, filepath.Join(old, "none")); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

// exchange lets another process, as a container could be, exchange a directory
// for a link to one of the host all the time, until the test ends.
func exchange(t *testing.T, dir, other string) {
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		if n := <-done; n < 1000 {
			t.Error("few exchanges:", n)
		}
	})
}

func TestBesideAnExchange(t *testing.T) {
	host := write(t, t.TempDir(), "only-on-host", "d/deeper")
	upper, empty := write(t, t.TempDir(), "x/dir/f", "x/dir/d/g"), t.TempDir()
	must(t, os.Symlink(host, filepath.Join(upper, "x/other")))
	exchange(t, filepath.Join(upper, "x/dir"), filepath.Join(upper, "x/other"))
	for range 2000 {
		ours, err := Changes(upper, nil, false)
		must(t, err)
		added, err := Compare(upper, empty)
		must(t, err)
		gone, err := Compare(empty, upper)
		must(t, err)
		for _, c := range slices.Concat(ours, added, gone) {
			if n := filepath.Base(c.Path); n == "only-on-host" || n == "deeper" {
				t.Fatal("a name of the host:", c)
			}
		}
	}
}
