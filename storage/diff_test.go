// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"go.podman.io/storage"
	"go.podman.io/storage/pkg/archive"
)

// What a layer's archive is made of again must be the layer's own files, whatever
// its names and links say: it is sent to registries.
func TestLayerReadsOwnFiles(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("TOP SECRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 40)
	for name, c := range map[string]struct {
		layer []byte
		whole bool // it can be made again
	}{
		"honest":                   {tarOf(t, file("a", "b")), true},
		"name leads up":            {tarOf(t, file(up+secret[1:], "0123456789")), true},
		"link to a directory":      {tarOf(t, special(tar.TypeSymlink, "l", dir), dirEntry(dir[1:]), file("l/secret", "0123456789")), true},
		"link that leads up":       {tarOf(t, special(tar.TypeSymlink, "l", up+dir[1:]), dirEntry(dir[1:]), file("l/secret", "0123456789")), true},
		"file that becomes a link": {tarOf(t, file("f", "0123456789"), special(tar.TypeSymlink, "f", secret)), false},
		"directory becomes a link": {tarOf(t, file("d/secret", "0123456789"), special(tar.TypeSymlink, "d", dir)), false},
		"file becomes a pipe":      {tarOf(t, file("f", "0123456789"), special(tar.TypeFifo, "f", "")), false},
		"whiteout of its own file": {tarOf(t, file("f", "0123456789"), file(".wh.f", "")), true}, // it speaks of the layers below
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, "")
			if _, err := s.Load(context.Background(), LoadOptions{Input: bytes.NewReader(tarOf(t, dockerSave(string(c.layer), nil)...))}); err != nil {
				t.Fatal(err)
			}
			o, err := s.begin(false)
			if err != nil {
				t.Fatal(err)
			}
			defer o.end(&err)
			layers, err := o.store.Layers()
			if err != nil || len(layers) != 1 {
				t.Fatal(layers, err)
			}
			plain := archive.Uncompressed
			done := make(chan struct{})
			var got []byte
			var readErr error
			go func() {
				defer close(done)
				rc, err := o.store.Diff("", layers[0].ID, &storage.DiffOptions{Compression: &plain})
				if readErr = err; err != nil {
					return
				}
				got, readErr = io.ReadAll(rc)
				if err := rc.Close(); err != nil {
					t.Error(err)
				}
			}()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("it hangs")
			}
			t.Log(readErr)
			if bytes.Contains(got, []byte("SECRET")) {
				t.Error("a file outside of the layer was read")
			}
			if whole := readErr == nil && digest.FromBytes(got) == digest.FromBytes(c.layer); whole != c.whole {
				t.Errorf("whole: %v, %v", whole, readErr)
			}
		})
	}
}

func dirEntry(name string) entry {
	return entry{tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}
