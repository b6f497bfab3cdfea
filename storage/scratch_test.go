// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"

	"github.com/proa-containers/proa/storage/pack"
)

func loadAlpine(t *testing.T, s *Store) *Image {
	t.Helper()
	img := imageOf(t, alpine(t)...)
	if _, err := s.Load(context.Background(), LoadOptions{Input: bytes.NewReader(dockerArchive(t, img, "alpine:latest"))}); err != nil {
		t.Fatal(err)
	}
	i, err := s.Resolve("alpine")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// change does what a RUN could do, in a mounted root directory.
func change(t *testing.T, root string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(root, "new"), []byte("new"), 0o4755))
	must(os.Chmod(filepath.Join(root, "new"), 0o755|os.ModeSetuid))
	must(os.Link(filepath.Join(root, "new"), filepath.Join(root, "other")))
	must(os.Symlink("new", filepath.Join(root, "link")))
	must(os.Remove(filepath.Join(root, "etc/motd")))
	must(os.RemoveAll(filepath.Join(root, "bin")))
	must(os.Mkdir(filepath.Join(root, "bin"), 0o755))
	must(os.WriteFile(filepath.Join(root, "bin/tool"), bytes.Repeat([]byte("x"), 300_000), 0o755))
	must(os.MkdirAll(filepath.Join(root, "srv/a/b"), 0o755))
	if !singleID() {
		must(os.Chown(filepath.Join(root, "srv/a"), 7, 8))
	}
}

func TestScratch(t *testing.T) {
	s := newStore(t, "")
	img := loadAlpine(t, s)
	epoch := time.Unix(1_700_000_000, 0)
	var first Layer
	for n := range 2 {
		w, err := s.NewScratch(s.TopLayer(img))
		if err != nil {
			t.Fatal(err)
		}
		root, err := w.Merged()
		if err != nil {
			t.Fatal(err)
		}
		change(t, root)
		if err := w.Unmount(); err != nil {
			t.Fatal(err)
		}
		checkChanges(t, w.Upper(), s.LayerDirs(img))
		l, err := w.Commit(context.Background(), &epoch)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = l
		} else if l != first {
			t.Errorf("not reproducible: %v %v", l, first)
		}
		time.Sleep(1100 * time.Millisecond)
	}
	if !s.LayerExists(first.ID) || s.LayerExists("nonsense") {
		t.Error("LayerExists")
	}
	checkArchive(t, s, first)
	dir, release, err := s.MountLayer(context.Background(), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "bin/busybox")); !os.IsNotExist(err) {
		t.Error("an opaque directory shows what is below", err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "other")); err != nil || fi.Mode()&os.ModeSetuid == 0 || fi.ModTime().Unix() != epoch.Unix() {
		t.Error(fi, err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	var c dockerspec.DockerOCIImage
	c.OS, c.Architecture, c.Created = "linux", "amd64", &epoch
	id, err := s.CreateImage(context.Background(), CreateOptions{Config: c, Top: first, Names: []string{"docker.io/library/built:latest"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Resolve("built")
	if err != nil || got.ID != id || len(got.DiffIDs) != 3 || s.TopLayer(got) != first {
		t.Errorf("%+v %v", got, err)
	}
	c.RootFS.Type = "layers"
	for _, d := range got.DiffIDs {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.Digest(d))
	}
	checkUnchanged(t, s, CreateOptions{Config: c, Top: first, Names: []string{"docker.io/library/built:latest"}}, id)
}

// checkUnchanged makes an image of the store again, which writes nothing, and
// then with something new, which does.
func checkUnchanged(t *testing.T, s *Store, o CreateOptions, id string) {
	t.Helper()
	record := func() os.FileInfo {
		fi, err := os.Stat(filepath.Join(s.root, "overlay-images/images.json"))
		if err != nil {
			t.Fatal(err)
		}
		return fi
	}
	create := func(what string, writes bool) {
		before := record()
		got, err := s.CreateImage(context.Background(), o)
		if err != nil || got != id {
			t.Errorf("%s: image %s, want %s: %v", what, got, id, err)
		}
		after := record() // a new file may have the old one's inode
		if wrote := !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()); wrote != writes {
			t.Errorf("%s: the record was written: %v", what, wrote)
		}
	}
	create("the same", false)
	o.Names = append(o.Names, "docker.io/library/built:2")
	create("another name", true)
	create("the same two names", false)
	o.Annotations = map[string]string{"a": "b"}
	create("an annotation", true)
	create("the same annotation", false)
	if img, err := s.Resolve("built:2"); err != nil || img.ID != id {
		t.Error(img, err)
	}
}

// checkArchive asks for a layer's archive again: it must be the same to the byte.
func checkArchive(t *testing.T, s *Store, l Layer) {
	t.Helper()
	rc, err := s.store.Diff("", l.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, rc)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("sha256:%x", sum.Sum(nil)); got != l.DiffID.String() || n != l.Size {
		t.Errorf("layer %s came back as %s, %d of %d bytes", l.DiffID, got, n, l.Size)
	}
}

func checkChanges(t *testing.T, upper string, lowers []string) {
	t.Helper()
	list, err := pack.Changes(upper, lowers, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range list {
		got = append(got, c.String())
	}
	want := []string{
		"C /bin", "D /bin/busybox", "D /bin/sh", "A /bin/tool", "C /etc", "D /etc/motd",
		"A /link", "A /new", "A /other", "A /srv", "A /srv/a", "A /srv/a/b",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestPulledLayersComeBackUnchanged(t *testing.T) {
	s := newStore(t, "")
	img := loadAlpine(t, s)
	checkArchive(t, s, s.TopLayer(img))
}

func TestScratchFromNothing(t *testing.T) {
	s := newStore(t, "")
	w, err := s.NewScratch(Layer{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := w.Merged()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "hello"), []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := w.Commit(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkArchive(t, s, l)
	// What nobody wants is discarded, and what a killed process left too.
	w, err = s.NewScratch(l)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Discard(); err != nil {
		t.Fatal(err)
	}
	if ents, _ := os.ReadDir(s.tmpDir()); len(ents) != 0 {
		t.Error(ents)
	}
}

// A step may change nothing but the root directory. That must not make its
// layer the same as one that changed nothing.
func TestScratchRootMode(t *testing.T) {
	s := newStore(t, "")
	top := s.TopLayer(loadAlpine(t, s))
	commit := func(on Layer, mode os.FileMode) Layer {
		t.Helper()
		w, err := s.NewScratch(on)
		if err != nil {
			t.Fatal(err)
		}
		if mode != 0 {
			if err := os.Chmod(w.Upper(), mode); err != nil {
				t.Fatal(err)
			}
		}
		l, err := w.Commit(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	same, open := commit(top, 0), commit(top, 0o777)
	if same.ID == open.ID || same.DiffID == open.DiffID {
		t.Fatalf("one layer for both: %v", open)
	}
	next, err := s.NewScratch(commit(open, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Discard() }()
	if fi, err := os.Stat(next.Upper()); err != nil || fi.Mode().Perm() != 0o777 {
		t.Errorf("mode %v, %v; want 0777", fi.Mode(), err)
	}
}
