// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/overlay"
)

type item struct {
	tar.Header
	body string
}

func archive(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		h := i.Header
		h.Size = int64(len(i.body))
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		// Whoever runs the test may only have one id.
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func named(name string) item { return item{tar.Header{Name: name}, "evil"} }

func link(kind byte, name, to string) item {
	return item{tar.Header{Name: name, Typeflag: kind, Linkname: to}, ""}
}

func dir(name string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}

// TestNothingEscapes unpacks archives that try to write outside. They may fail
// or not; nothing outside may change.
func TestNothingEscapes(t *testing.T) {
	for what, items := range map[string][]item{
		"dot dot":                    {named("../outside/victim"), named("a/../../../outside/victim")},
		"absolute":                   {named("/outside/victim")},
		"link to outside, then file": {link(tar.TypeSymlink, "l", "../outside"), named("l/victim")},
		"absolute link":              {link(tar.TypeSymlink, "l", "OUTSIDE"), named("l/victim")},
		"link chain":                 {link(tar.TypeSymlink, "a", ".."), link(tar.TypeSymlink, "b", "a/outside"), named("b/victim")},
		"file over link":             {link(tar.TypeSymlink, "l", "../outside/victim"), named("l")},
		"directory over link":        {link(tar.TypeSymlink, "l", "../outside"), dir("l"), named("l/victim")},
		"hard link to outside":       {link(tar.TypeLink, "h", "../outside/victim"), named("h")},
		"hard link, absolute":        {link(tar.TypeLink, "h", "OUTSIDE/victim"), named("h")},
		"hard link through link":     {link(tar.TypeSymlink, "l", "../outside"), link(tar.TypeLink, "h", "l/victim"), named("h")},
		"hard link to link":          {link(tar.TypeSymlink, "l", "../outside/victim"), link(tar.TypeLink, "h", "l"), named("h")},
		"whiteout through link":      {link(tar.TypeSymlink, "l", "../outside"), named("l/.wh.victim")},
		"whiteout dot dot":           {named("../outside/.wh.victim")},
		"opaque through link":        {link(tar.TypeSymlink, "l", "../outside"), named("l/.wh..wh..opq")},
		"mode through link":          {link(tar.TypeSymlink, "l", "../outside"), {tar.Header{Name: "l", Typeflag: tar.TypeDir, Mode: 0o777}, ""}},
		"proc link":                  {link(tar.TypeSymlink, "l", "/proc/self/cwd"), named("l/victim")},
	} {
		t.Run(what, func(t *testing.T) {
			top := t.TempDir()
			root, outside := filepath.Join(top, "root"), filepath.Join(top, "outside")
			victim := filepath.Join(outside, "victim")
			for _, d := range []string{root, outside} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(victim, []byte("good"), 0o600); err != nil {
				t.Fatal(err)
			}
			for i := range items {
				items[i].Linkname = strings.Replace(items[i].Linkname, "OUTSIDE", outside, 1)
			}
			_, err := Tar(root, bytes.NewReader(archive(t, items...)), Options{UserXattr: true, NoDevices: true})
			t.Log(err)
			got, rerr := os.ReadFile(victim)
			fi, serr := os.Stat(outside)
			if rerr != nil || string(got) != "good" || serr != nil || fi.Mode().Perm() != 0o755 {
				t.Errorf("outside changed: %q %v %v", got, rerr, fi.Mode())
			}
			if ents, _ := os.ReadDir(outside); len(ents) != 1 {
				t.Errorf("outside has %v", ents)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	many := archive(t, named("a"), named("b"), named("c"))
	if _, err := Tar(t.TempDir(), bytes.NewReader(many), Options{MaxEntries: 2}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	if _, err := Tar(t.TempDir(), bytes.NewReader(many), Options{MaxBytes: 10}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	for n := range len(many) / 100 {
		_, err := Tar(t.TempDir(), bytes.NewReader(many[:n*100+7]), Options{})
		// A cut in the padding behind a file loses nothing.
		if at := n*100 + 7; err == nil && at < 3*1024 && at%1024 < 512+4 {
			t.Errorf("cut at %d: no error", at)
		}
	}
}

func TestReplacing(t *testing.T) {
	root := t.TempDir()
	data := archive(t,
		named("x/y/z"), link(tar.TypeSymlink, "x/l", "y"),
		item{tar.Header{Name: "x/y", Typeflag: tar.TypeReg, Mode: 0o600}, "a file now"}, // over a directory
		dir("x/l"), // over a link
		named("x/l/f"), named("f"), named("f"))
	if _, err := Tar(root, bytes.NewReader(data), Options{}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(root, "x/y")); err != nil || string(b) != "a file now" {
		t.Error(b, err)
	}
	if fi, err := os.Lstat(filepath.Join(root, "x/l")); err != nil || !fi.IsDir() {
		t.Error(fi, err)
	}
}

// Modes are the archive's whatever the umask or a default access list of the
// directory takes away from what is created.
func TestModesAndTimes(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		t.Run(fmt.Sprintf("umask %03o", umask), func(t *testing.T) {
			root := t.TempDir()
			old := unix.Umask(umask)
			defer unix.Umask(old)
			checkModesAndTimes(t, root)
		})
	}
	t.Run("access list", func(t *testing.T) {
		root := t.TempDir()
		// Version 2; user::rwx, group::---, other::---, each tag, permissions, id.
		acl := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 0, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255}
		if err := unix.Setxattr(root, "system.posix_acl_default", acl, 0); err != nil {
			t.Skip(err) // the file system has none
		}
		checkModesAndTimes(t, root)
	})
}

func checkModesAndTimes(t *testing.T, root string) {
	at := time.Unix(1_600_000_000, 0)
	data := archive(t,
		item{tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o711, ModTime: at}, ""},
		item{tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o1777, ModTime: at}, ""},
		item{tar.Header{Name: "d/s", Mode: 0o4755, ModTime: at}, "x"},
		item{tar.Header{Name: "d/n", Mode: 0o100, ModTime: at}, "x"},
		item{tar.Header{Name: "d/w", Mode: 0o666, ModTime: at}, "x"},
		item{tar.Header{Name: "e", Typeflag: tar.TypeDir, Mode: 0o775, ModTime: at}, ""},
		item{tar.Header{Name: "e/f", Mode: 0o644, ModTime: at}, "x"},
		item{tar.Header{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o666, ModTime: at}, ""})
	res, err := Tar(root, bytes.NewReader(data), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if res.RootMode == nil || *res.RootMode != 0o711 || res.Size != int64(len(data)) {
		t.Errorf("%+v", res)
	}
	for name, mode := range map[string]os.FileMode{
		"d": os.ModeDir | os.ModeSticky | 0o777, "d/s": os.ModeSetuid | 0o755, "d/n": 0o100,
		"d/w": 0o666, "e": os.ModeDir | 0o775, "e/f": 0o644, "p": os.ModeNamedPipe | 0o666,
	} {
		fi, err := os.Lstat(filepath.Join(root, name))
		if err != nil || fi.Mode() != mode || !fi.ModTime().Equal(at) {
			t.Errorf("%s: %v %v %v", name, fi.Mode(), fi.ModTime(), err)
		}
	}
}

// TestSplit puts archives together again from tar-split's lines and the files.
func TestSplit(t *testing.T) {
	long := strings.Repeat("d/", 120) + "file"
	plain := archive(t, dir("a"), named("a/b"), named(long), named("ünïcode"), link(tar.TypeLink, "h", "a/b"),
		item{tar.Header{Name: "pax", PAXRecords: map[string]string{"SCHILY.xattr.user.k": "v"}}, strings.Repeat("0123456789", 100_000)},
		item{tar.Header{Name: "empty"}, ""})
	// Content that is no file's.
	marks := archive(t, dir("d"), item{tar.Header{Name: "d/.wh.gone"}, "whiteouts are empty, mostly"}, named("d/f"), named("d/.wh.f"),
		item{tar.Header{Name: ".wh..wh.aufs"}, strings.Repeat("a note", 100)})
	for what, data := range map[string][]byte{
		"plain": plain, "padded": append(bytes.Clone(plain), make([]byte, 9*512)...), "no end mark": plain[:len(plain)-1024],
		"marks": marks,
	} {
		t.Run(what, func(t *testing.T) {
			root := t.TempDir()
			var split, recorded, out bytes.Buffer
			res, err := Tar(root, bytes.NewReader(data), Options{Split: &split})
			if err != nil || !res.SplitOK {
				t.Fatal(res, err)
			}
			if _, err := Record(bytes.NewReader(data), &recorded); err != nil || what != "marks" && !bytes.Equal(recorded.Bytes(), split.Bytes()) {
				t.Error("Record differs", err)
			}
			rc := asm.NewOutputTarStream(storage.NewPathFileGetter(root), storage.NewJSONUnpacker(&split))
			if _, err := io.Copy(&out, rc); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), data) {
				t.Errorf("%d bytes came back as %d others", len(data), out.Len())
			}
		})
	}
}

// TestSplitGivesUp: more content than a mark may have is not kept twice.
func TestSplitGivesUp(t *testing.T) {
	data := archive(t, item{tar.Header{Name: ".wh.f"}, strings.Repeat("x", maxSpelled+1)})
	if res, err := Tar(t.TempDir(), bytes.NewReader(data), Options{Split: io.Discard}); err != nil || res.SplitOK {
		t.Error(res, err)
	}
}

func FuzzTar(f *testing.F) {
	f.Add(archive(f, named("a"), dir("d"), link(tar.TypeSymlink, "l", ".."), named("l/x"), named(".wh.a"), named("d/.wh..wh..opq")))
	f.Fuzz(func(t *testing.T, data []byte) {
		top := t.TempDir()
		root := filepath.Join(top, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		_, _ = Tar(root, bytes.NewReader(data), Options{UserXattr: true, NoDevices: true, MaxBytes: 1 << 20, MaxEntries: 1000, Split: io.Discard})
		if ents, err := os.ReadDir(top); err != nil || len(ents) != 1 {
			t.Errorf("%v %v", ents, err)
		}
	})
}

// A set-gid directory gives its group to what is made in it; what the archive
// says counts all the same.
func TestSetGIDDirectory(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs a second group")
	}
	root := t.TempDir()
	data := archive(t,
		item{tar.Header{Name: "local", Typeflag: tar.TypeDir, Mode: 0o2775, Gid: 50}, ""},
		item{tar.Header{Name: "local/file", Mode: 0o2755}, "x"},
		dir("local/sub"), link(tar.TypeSymlink, "local/link", "file"), named("local/new/file"))
	if _, err := Tar(root, bytes.NewReader(data), Options{UserXattr: true, NoDevices: true}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "sub", "link", "new", "new/file"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, "local", name), &st); err != nil || st.Gid != 0 {
			t.Errorf("%s: gid %d, mode %o, %v", name, st.Gid, st.Mode, err)
		}
	}
}

// A directory that is removed and made anew in one layer hides what the lower
// layers have there.
func TestDirectoryAfterWhiteout(t *testing.T) {
	root := t.TempDir()
	data := archive(t, named("a/.wh.d"), dir("a/d"), named("a/d/new"), dir("a/e"))
	if _, err := Tar(root, bytes.NewReader(data), Options{UserXattr: true, NoDevices: true}); err != nil {
		t.Fatal(err)
	}
	val := make([]byte, 8)
	if n, err := unix.Getxattr(filepath.Join(root, "a/d"), "user.overlay.opaque", val); err != nil || string(val[:n]) != "y" {
		t.Errorf("%q %v", val[:max(n, 0)], err)
	}
	if _, err := unix.Getxattr(filepath.Join(root, "a/e"), "user.overlay.opaque", val); err == nil {
		t.Error("a new directory hides what is below")
	}
	if _, err := os.Stat(filepath.Join(root, "a/d/new")); err != nil {
		t.Error(err)
	}
}

// TestMarksAndFiles: the marks of a layer hide what is below it, and never its own files,
// whichever of the two comes first.
func TestMarksAndFiles(t *testing.T) {
	const mark = "whiteout" // else the content of a file, or "dir" and "opaque"
	for what, c := range map[string]struct {
		items []item
		want  map[string]string
	}{
		"whiteout, file":      {[]item{named("d/.wh.f"), named("d/f")}, map[string]string{"d": "dir", "d/f": "evil"}},
		"file, whiteout":      {[]item{named("d/f"), named("d/.wh.f")}, map[string]string{"d": "dir", "d/f": "evil"}},
		"link, whiteout":      {[]item{link(tar.TypeSymlink, "l", "f"), named(".wh.l")}, map[string]string{"l": "link"}},
		"hard link, whiteout": {[]item{named("f"), link(tar.TypeLink, "h", "f"), named(".wh.h"), named(".wh.f")}, map[string]string{"f": "evil", "h": "evil"}},
		"two whiteouts":       {[]item{named(".wh.f"), named(".wh.f")}, map[string]string{"f": mark}},
		"files, opaque":       {[]item{dir("d"), named("d/f"), named("d/.wh..wh..opq")}, map[string]string{"d": "opaque", "d/f": "evil"}},
		"opaque, files":       {[]item{dir("d"), named("d/.wh..wh..opq"), named("d/f")}, map[string]string{"d": "opaque", "d/f": "evil"}},
		// Removed, and made anew: what the layers below have in it stays removed.
		"directory, whiteout":       {[]item{dir("d"), named("d/f"), named(".wh.d")}, map[string]string{"d": "opaque", "d/f": "evil"}},
		"implied, whiteout":         {[]item{named("a/d/f"), named("a/.wh.d")}, map[string]string{"a": "dir", "a/d": "opaque", "a/d/f": "evil"}},
		"whiteout, implied":         {[]item{named("a/.wh.d"), named("a/d/e/f")}, map[string]string{"a": "dir", "a/d": "opaque", "a/d/e": "dir", "a/d/e/f": "evil"}},
		"whiteout, directory":       {[]item{named(".wh.d"), dir("d"), named("d/f")}, map[string]string{"d": "opaque", "d/f": "evil"}},
		"directory over file, mark": {[]item{named("d"), dir("d"), named(".wh.d")}, map[string]string{"d": "opaque"}},
		// A mark below one that hides it all the same says nothing.
		"whiteout below whiteout": {[]item{named(".wh.d"), named("d/.wh.f"), named("d/e/.wh.f")}, map[string]string{"d": mark}},
		"opaque below whiteout":   {[]item{named(".wh.d"), named("d/.wh..wh..opq")}, map[string]string{"d": mark}},
	} {
		t.Run(what, func(t *testing.T) {
			root := t.TempDir()
			if _, err := Tar(root, bytes.NewReader(archive(t, c.items...)), Options{UserXattr: true}); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
				if p == root || err != nil {
					return err
				}
				rel, _ := filepath.Rel(root, p)
				switch fi, err := d.Info(); {
				case err != nil:
					return err
				case fi.Mode()&os.ModeSymlink != 0:
					got[rel] = "link"
				case fi.Mode()&os.ModeCharDevice != 0:
					got[rel] = mark
				case fi.IsDir():
					if got[rel] = "dir"; overlay.HasOpaque(opened(t, p), false) {
						got[rel] = "opaque"
					}
				default:
					text, err := os.ReadFile(p)
					got[rel] = string(text)
					return err
				}
				return nil
			})
			if err != nil || !maps.Equal(got, c.want) {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
	// A file is still no directory.
	if _, err := Tar(t.TempDir(), bytes.NewReader(archive(t, named("f"), named("f/.wh.x"))), Options{}); !errors.Is(err, unix.ENOTDIR) {
		t.Error(err)
	}
}

func opened(t *testing.T, dir string) int {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

// TestOwnersBeyondIDs: the kernel would cut larger numbers to 32 bits, and 4294967296 would
// be root.
func TestOwnersBeyondIDs(t *testing.T) {
	for _, owner := range [][2]int{{1 << 32, 0}, {0, 1 << 32}, {1<<32 - 1, 0}, {1<<40 + 5, 7}, {-1, 0}} {
		f := item{tar.Header{Name: "f", Uid: owner[0], Gid: owner[1], Format: tar.FormatGNU}, "x"}
		for what, kind := range map[string]byte{"file": tar.TypeReg, "directory": tar.TypeDir, "link": tar.TypeSymlink} {
			if f.Typeflag = kind; kind != tar.TypeReg {
				f.body, f.Linkname = "", "x"
			}
			data := archive(t, f)
			for _, o := range []Options{{}, {IgnoreChown: true}} {
				if _, err := Tar(t.TempDir(), bytes.NewReader(data), o); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "0 to 4294967294") {
					t.Errorf("%s of %v: %v", what, owner, err)
				}
			}
			if _, err := Record(bytes.NewReader(data), io.Discard); !errs.Is(err, errs.Invalid) {
				t.Errorf("%s of %v, read only: %v", what, owner, err)
			}
		}
	}
}

// TestZeros: a file that an archive spells out with a long run of zeros takes no blocks for
// it, and comes back as it was.
func TestZeros(t *testing.T) {
	root := t.TempDir()
	body := "head" + strings.Repeat("\x00", 20<<20) + "tail" + strings.Repeat("\x00", 5<<20)
	var split, out bytes.Buffer
	data := archive(t, item{tar.Header{Name: "image"}, body}, named("after"))
	if _, err := Tar(root, bytes.NewReader(data), Options{Split: &split}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(root, "image"), &st); err != nil || st.Size != int64(len(body)) || st.Blocks*512 > 1<<20 {
		t.Errorf("%d bytes take %d blocks, %v", st.Size, st.Blocks, err)
	}
	rc := asm.NewOutputTarStream(storage.NewPathFileGetter(root), storage.NewJSONUnpacker(&split))
	if _, err := io.Copy(&out, rc); err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("%d bytes came back as %d others, %v", len(data), out.Len(), err)
	}
}

// Links to directories must not let an archive nest them deeper than a path can
// name.
func TestTooDeep(t *testing.T) {
	var items []item
	at := ""
	for n := range 4 {
		below := at + strings.Repeat("d/", 1000)
		name := fmt.Sprintf("l%d", n)
		items = append(items, dir(below), link(tar.TypeSymlink, name, below))
		at = name + "/"
	}
	_, err := Tar(t.TempDir(), bytes.NewReader(archive(t, items...)), Options{})
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "nested too deep") || len(err.Error()) > 500 {
		t.Error(err)
	}
}
