// SPDX-License-Identifier: Apache-2.0

package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// copyTo copies everything below src into dst as its present owner.
func copyTo(t *testing.T, src, dst string) error {
	t.Helper()
	from, to := mustRoot(t, src), mustRoot(t, dst)
	w := &Walker{Root: from}
	if err := w.Add("", ""); err != nil {
		t.Fatal(err)
	}
	c := NewCopier(to)
	defer c.Close()
	c.Owner = &Owner{os.Getuid(), os.Getgid()}
	return c.CopyAll(w, "/")
}

func mustRoot(t *testing.T, dir string) *Root {
	t.Helper()
	r, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestCopyReplacesWhatIsThere(t *testing.T) {
	src, dst, elsewhere := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	when := time.Unix(1_000_000_000, 0)
	big := strings.Repeat("0123456789abcdef", 40_000)
	for name, text := range map[string]string{"file": "new", "link": "no link", "empty": "", "big": big} {
		p := filepath.Join(src, name)
		if err := os.WriteFile(p, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dst, "file"), []byte("what was there, and longer"), 0o777); err != nil {
		t.Fatal(err)
	}
	// A link in the way is replaced, never written through.
	if err := os.WriteFile(elsewhere, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dst, "link")); err != nil {
		t.Fatal(err)
	}
	if err := copyTo(t, src, dst); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"file": "new", "link": "no link", "empty": "", "big": big} {
		p := filepath.Join(dst, name)
		if got, err := os.ReadFile(p); err != nil || string(got) != text {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(text))
		}
		fi, err := os.Lstat(p)
		if err != nil || fi.Mode() != 0o640 || !fi.ModTime().Equal(when) {
			t.Errorf("%s: mode %v, time %v, %v", name, fi.Mode(), fi.ModTime(), err)
		}
	}
	if got, _ := os.ReadFile(elsewhere); string(got) != "untouched" {
		t.Errorf("written through the link: %q", got)
	}
	// A directory in the way is an error that says so.
	if err := os.Mkdir(filepath.Join(src, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dst, "file")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dst, "file"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := copyTo(t, src, dst); err == nil || !strings.Contains(err.Error(), "a directory is in the way") {
		t.Errorf("over a directory: %v", err)
	}
}

// TestContentWithoutSize copies what says that it is empty and is not, and what
// changed its size since it was listed.
func TestContentWithoutSize(t *testing.T) {
	dir := t.TempDir()
	want, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Fatal(err)
	}
	grown := filepath.Join(dir, "grown")
	if err := os.WriteFile(grown, want, 0o600); err != nil {
		t.Fatal(err)
	}
	c := NewCopier(mustRoot(t, dir))
	for _, tc := range []struct {
		from string
		size int64
		want string
	}{
		{"/proc/version", 0, string(want)},
		{grown, 3, string(want)},
		{grown, 1 << 20, string(want)},
	} {
		from, err := unix.Open(tc.from, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		to, err := NewCopier(nil).createIn(unix.AT_FDCWD, filepath.Join(dir, "to"), "to")
		if err != nil {
			t.Fatal(err)
		}
		err = c.content(from, to, tc.size)
		unix.Close(from)
		unix.Close(to)
		if got, _ := os.ReadFile(filepath.Join(dir, "to")); err != nil || string(got) != tc.want {
			t.Errorf("%s of size %d: %q, %v", tc.from, tc.size, got, err)
		}
		w := &Walker{Root: mustRoot(t, filepath.Dir(tc.from))}
		e := &Entry{Path: filepath.Base(tc.from), Stat: unix.Stat_t{Size: tc.size}}
		small, err := w.fileDigest(e, make([]byte, 7))
		if err != nil {
			t.Fatal(err)
		}
		large, err := w.fileDigest(e, make([]byte, 4096))
		if err != nil || string(small) != string(large) {
			t.Errorf("%s of size %d: the digest depends on the buffer: %x, %x, %v", tc.from, tc.size, small, large, err)
		}
	}
}
