// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/patternmatcher"
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
		var st unix.Stat_t
		if err := unix.Fstat(from, &st); err != nil {
			t.Fatal(err)
		}
		st.Size = tc.size
		err = c.data.Content(to, from, &st)
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

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Two names of one file are that in the copy, within one directory and in two, unless the
// first copy has been replaced since.
func TestCopyKeepsHardLinks(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	write(t, filepath.Join(src, "a/one"), "linked")
	write(t, filepath.Join(src, "b/replaces"), "other")
	for _, name := range []string{"a/two", "b/three", "c/four"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(src, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(filepath.Join(src, "a/one"), filepath.Join(src, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(src, "b/replaces"), filepath.Join(src, "b/one")); err != nil {
		t.Fatal(err)
	}
	from, to := mustRoot(t, src), mustRoot(t, dst)
	c := NewCopier(to)
	defer c.Close()
	c.Owner = &Owner{os.Getuid(), os.Getgid()}
	for _, dir := range []string{"a", "a", "b", "c"} {
		w := &Walker{Root: from}
		if err := w.Add(dir, ""); err != nil {
			t.Fatal(err)
		}
		if err := c.CopyAll(w, "/d"); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"one": "other", "two": "linked", "three": "linked", "four": "linked"} {
		if text, err := os.ReadFile(filepath.Join(dst, "d", name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v; want %q", name, text, err, want)
		}
	}
	three, err := os.Stat(filepath.Join(dst, "d/three"))
	four, err2 := os.Stat(filepath.Join(dst, "d/four"))
	if err != nil || err2 != nil || !os.SameFile(three, four) {
		t.Errorf("three and four are two files: %v, %v", err, err2)
	}
}

// A destination is made for the files: it takes neither mode nor time of the clock.
func TestMadeDirectories(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	write(t, filepath.Join(src, "d/f"), "text")
	when := time.Unix(1_000_000_000, 0)
	if err := errors.Join(os.Chmod(filepath.Join(src, "d"), 0o700), os.Chtimes(filepath.Join(src, "d"), when, when)); err != nil {
		t.Fatal(err)
	}
	mode, err := ParseMode("711")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		chmod *Mode
		alike bool
		want  os.FileMode
	}{"plain": {nil, false, 0o755}, "chmod": {mode, false, 0o711}, "alike": {nil, true, 0o700}} {
		w := &Walker{Root: mustRoot(t, src)}
		if err := w.Add("d", ""); err != nil {
			t.Fatal(err)
		}
		c := NewCopier(mustRoot(t, dst))
		c.Owner, c.Chmod, c.Alike = &Owner{os.Getuid(), os.Getgid()}, tc.chmod, tc.alike
		if err := errors.Join(c.CopyAll(w, "/"+name+"/of/it"), c.Finish(), c.Close()); err != nil {
			t.Fatal(err)
		}
		for dir, want := range map[string]os.FileMode{name + "/of/it": tc.want, name: 0o755} {
			if tc.chmod != nil {
				want = 0o711
			}
			fi, err := os.Stat(filepath.Join(dst, dir))
			if err != nil || fi.Mode().Perm() != want || !fi.ModTime().Equal(when) {
				t.Errorf("%s: %v of %v, %v; want %v of %v", dir, fi.Mode().Perm(), fi.ModTime(), err, want, when)
			}
		}
	}
}

// A directory that nobody may read stops who asks for it, and nobody else.
func TestUnreadableDirectory(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "closed/f"), "")
	write(t, filepath.Join(dir, "open/f"), "")
	closed := filepath.Join(dir, "closed")
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(closed, 0o755) //nolint:errcheck // for the removal
	walk := func(patterns []string, denied bool) (int, error) {
		w := &Walker{Root: mustRoot(t, dir), Denied: denied}
		var err error
		if w.Filter.Ignore, err = patternmatcher.New(patterns); err != nil {
			t.Fatal(err)
		}
		err = w.Add("", "")
		return len(w.Entries), err
	}
	for _, tc := range []struct {
		ignore []string
		denied bool
		want   int // 0: an error
	}{
		{nil, false, 0},
		{nil, true, 4},
		{[]string{"closed"}, false, 3},
		{[]string{"closed", "!open/f"}, false, 3},
		{[]string{"closed", "!closed/f"}, false, 0},
	} {
		n, err := walk(tc.ignore, tc.denied)
		if (err != nil) != (tc.want == 0) || err == nil && n != tc.want {
			t.Errorf("%v: %d entries, %v; want %d", tc, n, err, tc.want)
		}
	}
}

func TestModes(t *testing.T) {
	for s, want := range map[string]uint32{
		"g=u": 0o660, "o=g": 0o644, "u+x-w,g=": 0o500, "go+u": 0o666, "a=rX": 0o444, "u=rwx,go=rx": 0o755, "0711": 0o711, "+x": 0o751,
	} {
		m, err := ParseMode(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if got := m.apply(0o640, false); got != want {
			t.Errorf("%s gives %o, want %o", s, got, want)
		}
	}
	for _, s := range []string{"g=ur", "g=ug", "u", "rwx", "u~r", ",", "8", "77777"} {
		if _, err := ParseMode(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}
