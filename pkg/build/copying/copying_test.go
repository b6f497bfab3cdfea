// SPDX-License-Identifier: Apache-2.0

package copying

import (
	"archive/tar"
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/build/source"
)

// tree is a directory with files; a name that ends with a slash is a directory.
func tree(t *testing.T, content map[string]string) *source.Tree {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &source.Tree{Root: dir}
}

func find(t *testing.T, tr *source.Tree, s *Sources) *Items {
	t.Helper()
	items, err := Find(context.Background(), tr, s, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(items.Close)
	return items
}

func key(t *testing.T, items *Items) string {
	t.Helper()
	k := cache.NewKey()
	if err := items.AddTo(k, false); err != nil {
		t.Fatal(err)
	}
	return k.Sum()
}

// A key is of names and contents: times do not change it.
func TestKey(t *testing.T) {
	tr := tree(t, map[string]string{"d/a": "A", "d/b": "B", "e/a": "A"})
	paths := func(p ...string) *Sources { return &Sources{Name: "COPY", Paths: p} }
	first := key(t, find(t, tr, paths("d")))
	old := time.Unix(1, 0)
	if err := os.Chtimes(filepath.Join(tr.Root, "d/a"), old, old); err != nil {
		t.Fatal(err)
	}
	if key(t, find(t, tr, paths("d"))) != first {
		t.Error("a file's time changes the key")
	}
	if key(t, find(t, tr, paths("d/a"))) != key(t, find(t, tr, paths("e/a"))) {
		t.Error("the directory that a file is taken from changes the key")
	}
	if key(t, find(t, tr, paths("d/a"))) == key(t, find(t, tr, paths("d/b"))) {
		t.Error("two files have one key")
	}
	inline := func(text string) *Sources {
		return &Sources{Name: "COPY", Inline: []instructions.SourceContent{{Path: "h", Data: text}}}
	}
	if key(t, find(t, tr, inline("x"))) == key(t, find(t, tr, inline("y"))) {
		t.Error("two texts have one key")
	}
	if err := os.WriteFile(filepath.Join(tr.Root, "d/a"), []byte("B"), 0o644); err != nil {
		t.Fatal(err)
	}
	if key(t, find(t, tr, paths("d"))) == first {
		t.Error("a file's content does not change the key")
	}
}

func TestWrite(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the copies get owners, which takes root")
	}
	tr := tree(t, map[string]string{"a.txt": "A", "b.txt": "B", "sub/c": "C"})
	now := time.Unix(1000, 0)
	for _, tc := range []struct {
		name    string
		sources Sources
		dest    string
		want    map[string]string
	}{
		{"a file gets a name", Sources{Paths: []string{"a.txt"}}, "/x", map[string]string{"x": "A"}},
		{"or a place", Sources{Paths: []string{"a.txt"}}, "/x/", map[string]string{"x/a.txt": "A"}},
		{"a pattern", Sources{Paths: []string{"*.txt"}}, "/x/", map[string]string{"x/a.txt": "A", "x/b.txt": "B"}},
		{"a directory's content", Sources{Paths: []string{"sub"}}, "/x", map[string]string{"x/c": "C"}},
		{"with its parents", Sources{Paths: []string{"sub/c"}, Parents: true}, "/x", map[string]string{"x/sub/c": "C"}},
		{"without some", Sources{Paths: []string{"."}, Exclude: []string{"*.txt"}}, "/", map[string]string{"sub/c": "C"}},
		{"text", Sources{Inline: []instructions.SourceContent{{Path: "h", Data: "H"}}}, "/x/", map[string]string{"x/h": "H"}},
	} {
		tc.sources.Name = "COPY"
		root := t.TempDir()
		if err := find(t, tr, &tc.sources).Write(root, Target{Dest: tc.dest, Now: now}); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		got := map[string]string{}
		for name := range tc.want {
			text, _ := os.ReadFile(filepath.Join(root, name))
			got[name] = string(text)
			if string(text) != tc.want[name] {
				t.Errorf("%s: %s is %q", tc.name, name, text)
			}
		}
		if tops, _ := os.ReadDir(root); len(tops) != 1 {
			t.Errorf("%s: more than wanted: %v", tc.name, tops)
		}
	}
	several := find(t, tr, &Sources{Name: "COPY", Paths: []string{"a.txt", "b.txt"}})
	if err := several.Write(t.TempDir(), Target{Dest: "/x"}); err == nil || !strings.Contains(err.Error(), "using COPY with more than one source file") {
		t.Errorf("two files to one name: %v", err)
	}
	mode, err := files.ParseMode("400")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := find(t, tr, &Sources{Name: "COPY", Paths: []string{"a.txt"}}).Write(root, Target{Dest: "/x", Mode: mode, Epoch: &now}); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(filepath.Join(root, "x")); err != nil || fi.Mode() != 0o400 || !fi.ModTime().Equal(now) {
		t.Errorf("mode and time: %v, %v", fi, err)
	}
}

func archive(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "inside", Typeflag: tar.TypeReg, Size: 2, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("in")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// ADD unpacks the archives of a tree, and downloads on demand only. What was
// downloaded is gone after Close.
func TestAdd(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(archive(t)) }))
	defer srv.Close()
	tr := tree(t, map[string]string{"a.tar": string(archive(t))})
	yes, no := true, false
	for _, tc := range []struct {
		name   string
		s      Sources
		unpack bool
	}{
		{"COPY", Sources{Paths: []string{"a.tar"}}, false},
		{"ADD", Sources{Add: true, Paths: []string{"a.tar"}}, true},
		{"ADD --unpack=false", Sources{Add: true, Unpack: &no, Paths: []string{"a.tar"}}, false},
		{"ADD of a URL", Sources{Add: true, Paths: []string{srv.URL + "/a.tar"}}, false},
		{"ADD --unpack of a URL", Sources{Add: true, Unpack: &yes, Paths: []string{srv.URL + "/a.tar"}}, true},
	} {
		tmp, root := t.TempDir(), t.TempDir()
		items, err := Find(context.Background(), tr, &tc.s, tmp)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if err := items.Write(root, Target{Dest: "/", Owner: &files.Owner{UID: os.Getuid(), GID: os.Getgid()}}); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		want := "a.tar"
		if tc.unpack {
			want = "inside"
		}
		if _, err := os.Stat(filepath.Join(root, want)); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		items.Close()
		if left, _ := os.ReadDir(tmp); len(left) != 0 {
			t.Errorf("%s: left behind: %v", tc.name, left)
		}
	}
	tmp := t.TempDir()
	wrong := &Sources{Name: "ADD", Add: true, Paths: []string{srv.URL + "/a.tar"}, Checksum: "sha256:0"}
	if _, err := Find(context.Background(), tr, wrong, tmp); err == nil || !strings.Contains(err.Error(), "digest mismatch") {
		t.Errorf("another checksum: %v", err)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("after an error: left behind: %v", left)
	}
}

func TestRefusals(t *testing.T) {
	const with, without = "https://me:secret@example.com/a", "https://xxxxx:xxxxx@example.com/a"
	for _, tc := range []struct {
		s    Sources
		want string
	}{
		{Sources{Paths: []string{with}}, "source can't be a URL for COPY: " + without},
		{Sources{Add: true, Paths: []string{with, "b"}, Checksum: "sha256:0"}, "checksum can't be specified for multiple sources"},
		{Sources{Add: true, Paths: []string{"b"}, Checksum: "sha256:0"}, "checksum requires HTTP(S) or Git sources"},
	} {
		if err := tc.s.Check(); err == nil || err.Error() != tc.want {
			t.Errorf("%v, want %s", err, tc.want)
		}
	}
	s := &Sources{Name: "ADD", Add: true, Paths: []string{with, "b"}, Inline: []instructions.SourceContent{{Path: "h"}}}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	if got := strings.Join(s.Names(), " "); got != without+" b <<h" {
		t.Errorf("history shows %s", got)
	}
	for _, src := range []string{"nothere", `a\*`, "sub/nothere"} {
		if _, err := Find(context.Background(), tree(t, map[string]string{"ab": "", "sub/x": ""}), &Sources{Name: "COPY", Paths: []string{src}}, t.TempDir()); err == nil {
			t.Errorf("%s was found", src)
		}
	}
	if n := find(t, tree(t, map[string]string{"a": ""}), &Sources{Name: "COPY", Paths: []string{"b*", "nodir/*"}}).Len(); n != 0 {
		t.Errorf("%d files match", n)
	}
}
