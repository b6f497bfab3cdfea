// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

// manyImages is a store with n images of one layer each.
func manyImages(t testing.TB, n int) *Store {
	t.Helper()
	s := newStore(t, "")
	for i := range n {
		_, err := s.Import(context.Background(), ImportOptions{
			Input: bytes.NewReader(tarOf(t, file("n", fmt.Sprint(i)))), Name: fmt.Sprintf("many/image%d:1", i),
			Changes: []string{"ENV A=b PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LABEL maintainer=somebody"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func BenchmarkResolve200(b *testing.B) {
	s := manyImages(b, 200)
	for b.Loop() {
		if _, err := s.Resolve("many/image199:1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList200(b *testing.B) {
	s := manyImages(b, 200)
	for b.Loop() {
		if l, err := s.List(); err != nil || len(l) != 200 {
			b.Fatal(err)
		}
	}
}

func TestIndexFollowsTheStore(t *testing.T) {
	s := manyImages(t, 3)
	img, err := s.Resolve("many/image1:1")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.root, "index")
	for what, harm := range map[string]func(){
		"no index":    func() { os.RemoveAll(dir) },
		"no image":    func() { os.RemoveAll(filepath.Join(dir, "i")) },
		"empty names": func() { os.WriteFile(filepath.Join(dir, "names"), nil, 0o600) },
		"broken list": func() { os.WriteFile(filepath.Join(dir, "list.json"), []byte(`{"stamp":`), 0o600) },
		"old stamp": func() {
			os.WriteFile(filepath.Join(dir, "names"), []byte("proa-index 4 1 2 3.4\n"), 0o600)
		},
	} {
		harm()
		got, err := s.Resolve("many/image1:1")
		if err != nil || got.ID != img.ID {
			t.Errorf("%s: %v", what, err)
		}
		if l, err := s.List(); err != nil || len(l) != 3 {
			t.Errorf("%s: %d images, %v", what, len(l), err)
		}
	}
	// As a command killed while it wrote the index, and before it did.
	torn := filepath.Join(dir, ".list.json.proa-tmp-1")
	if err := os.WriteFile(torn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.store.AddNames(img.ID, []string{"docker.io/library/behind:latest"}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Resolve("behind"); err != nil || got.ID != img.ID {
		t.Error(err)
	}
	if _, err := s.store.DeleteImage(img.ID, true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve("behind"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "i", img.ID+".json")); !os.IsNotExist(err) {
		t.Error("the removed image's file is left", err)
	}
	if _, err := os.Stat(torn); !os.IsNotExist(err) {
		t.Error("a killed writer's file is left", err)
	}
}
