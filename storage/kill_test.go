// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// killPoints are spread over the time that the call takes undisturbed, and a bit
// beyond.
const killPoints = 25

// manyLayers takes a while: several layers, files enough.
func manyLayers(t testing.TB) v1.Image {
	var layers [][]byte
	for l := range 4 {
		var es []entry
		for i := range 60 {
			es = append(es, file(fmt.Sprintf("d%d/f%d", l, i), strings.Repeat("x", 1000)))
		}
		layers = append(layers, tarOf(t, append(es, file(fmt.Sprintf("big%d", l), noise(1<<20+l)))...))
	}
	return imageOf(t, layers...)
}

// sweep runs what a child does undisturbed, then kills it at many points, and
// calls after each time.
func sweep(t *testing.T, s *Store, job string, reset, after func()) {
	t.Helper()
	began := time.Now()
	if err := child(s, job).Run(); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	killed := 0
	for i := range killPoints {
		reset()
		c := child(s, job)
		c.Stderr = nil
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(whole * time.Duration(i) / (killPoints - 3))
		_ = c.Process.Kill()
		if c.Wait() != nil {
			killed++
		}
		after()
		if t.Failed() {
			t.Fatalf("at point %d of %d, of %s", i, killPoints, whole)
		}
	}
	t.Logf("%s: killed %d times within %s", job, killed, whole)
	if killed == 0 {
		t.Error("none was killed in time")
	}
}

// checkCounts asserts that the image is there as a whole or not at all.
func checkCounts(t *testing.T, s *Store) {
	t.Helper()
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	u, err := s.Usage(nil)
	if err != nil {
		t.Fatal(err)
	}
	var want int64
	for _, i := range list {
		want += i.Size
	}
	if u.BuildLayers != 0 || u.Size != want {
		t.Errorf("%d images of %d bytes, but %+v is counted", len(list), want, u)
	}
}

func checkClean(t *testing.T, s *Store) {
	t.Helper()
	f, err := s.Check(context.Background(), CheckOptions{}, nil)
	if err != nil || len(f) > 0 {
		t.Errorf("check: %v %v", f, err)
	}
}

func remove(t *testing.T, s *Store, ref string) {
	t.Helper()
	if _, err := s.Resolve(ref); err != nil {
		return
	}
	if _, err := s.Remove(context.Background(), ref, RemoveOptions{Force: true}); err != nil {
		t.Errorf("remove: %v", err)
	}
}

// files lists everything in the store but the names that differ each time.
func files(t *testing.T, s *Store) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(s.root, func(p string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(s.root, p)
		out = append(out, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func sameFiles(t *testing.T, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for _, f := range got {
		if !slices.Contains(want, f) {
			t.Errorf("%s is left", f)
		}
	}
	for _, f := range want {
		if !slices.Contains(got, f) {
			t.Errorf("%s is missing", f)
		}
	}
}

func TestKilledAnywhere(t *testing.T) {
	img := manyLayers(t)
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(archive, gz(dockerArchive(t, img, "alpine:latest")), 0o600); err != nil {
		t.Fatal(err)
	}
	pull := func(s *Store) error { _, err := s.Pull(context.Background(), "alpine", PullOptions{}); return err }
	load := func(s *Store) error {
		_, err := s.Load(context.Background(), LoadOptions{Path: archive})
		return err
	}
	for name, c := range map[string]struct {
		job string
		do  func(*Store) error
	}{"pull": {"alpine", pull}, "load": {"load " + archive, load}} {
		t.Run(name, func(t *testing.T) {
			srv := newRegistry(t)
			push(t, hostOf(srv), "library/alpine:latest", img)
			fresh := newStore(t, hostOf(srv))
			if err := c.do(fresh); err != nil {
				t.Fatal(err)
			}
			remove(t, fresh, id.Hex)
			s := newStore(t, hostOf(srv))
			n := 0
			sweep(t, s, c.job, func() { remove(t, s, id.Hex) }, func() {
				checkCounts(t, s)
				if n++; n%2 == 0 { // and every other time without anybody clearing up between
					checkClean(t, s)
				}
				if err := c.do(s); err != nil {
					t.Errorf("again: %v", err)
				}
				checkCounts(t, s)
				checkClean(t, s)
			})
			remove(t, s, id.Hex)
			sameFiles(t, files(t, s), files(t, fresh))
		})
	}
}

func TestKilledPush(t *testing.T) {
	srv := newRegistry(t)
	s := newStore(t, hostOf(srv))
	img := manyLayers(t)
	if _, err := s.Load(context.Background(), LoadOptions{Input: bytes.NewReader(dockerArchive(t, img, "x:1"))}); err != nil {
		t.Fatal(err)
	}
	var before []string
	target := hostOf(srv) + "/me/x:1"
	if err := s.Tag(context.Background(), "x:1", target); err != nil {
		t.Fatal(err)
	}
	sweep(t, s, "push "+target, func() {
		if before == nil {
			before = files(t, s)
		}
	}, func() {
		checkCounts(t, s)
		checkClean(t, s)
		if _, err := s.Push(context.Background(), target, PushOptions{}); err != nil {
			t.Errorf("again: %v", err)
		}
	})
	sameFiles(t, files(t, s), before)
}

// A link whose layer is gone is debris; what leads to a layer is not.
func TestDanglingLinks(t *testing.T) {
	srv := newRegistry(t)
	push(t, hostOf(srv), "library/alpine:latest", imageOf(t, alpine(t)...))
	s := newStore(t, hostOf(srv))
	if _, err := s.Pull(context.Background(), "alpine", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	links := func() int { ents, _ := os.ReadDir(filepath.Join(s.Home(), "l")); return len(ents) }
	before := links()
	if err := os.Symlink("../gone/diff", filepath.Join(s.Home(), "l", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.opsDir(), "op-killed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	checkClean(t, s)
	if before == 0 || links() != before {
		t.Errorf("%d links became %d", before, links())
	}
}

// A layer that was killed before it knew its short name is made again under
// another one: the first leads to it as well, and goes.
func TestSecondShortName(t *testing.T) {
	srv := newRegistry(t)
	push(t, hostOf(srv), "library/alpine:latest", manyLayers(t))
	s := newStore(t, hostOf(srv))
	img, err := s.Pull(context.Background(), "alpine", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(s.Home(), "l")
	own, err := os.ReadDir(short)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("..", img.Layers[0], "diff"), filepath.Join(short, "SECOND")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.opsDir(), "op-killed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(context.Background(), "alpine", "again"); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(short)
	if err != nil || len(left) != len(own) {
		t.Errorf("%d short names became %d: %v", len(own), len(left), err)
	}
}
