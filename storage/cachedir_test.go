// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/blob"
	"github.com/proa-containers/proa/storage/ocidir"
)

// A writer that was killed, or found the disk full, while the index was replaced
// leaves the cache of before, for readers and for the next writer.
func TestCacheTornIndex(t *testing.T) {
	s := newStore(t, "")
	ctx := context.Background()
	r := CacheRef{Dir: filepath.Join(t.TempDir(), "cache"), Tag: "latest"}
	write := func(text string) error {
		return s.WriteCache(ctx, r, "application/json", nil, func([]CacheBlob) ([]byte, error) { return []byte(text), nil })
	}
	holds := func(want string) {
		t.Helper()
		items, err := s.OpenCache(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		defer items[0].Close()
		if got := string(items[0].Config); got != want {
			t.Errorf("it holds %s, want %s", got, want)
		}
	}
	if err := write(`"old"`); err != nil {
		t.Fatal(err)
	}
	index, kept := filepath.Join(r.Dir, "index.json"), filepath.Join(r.Dir, ".index.json.kept")
	// tear leaves what kill -9 leaves: no writer, and not its end.
	tear := func(half string) {
		t.Helper()
		if err := os.Link(index, kept); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(index), os.WriteFile(index, []byte(half), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, half := range []string{"", `{"schemaVersion":2,"manif`} {
		tear(half)
		holds(`"old"`)
		tear(half)
		if err := write(`"new"`); err != nil {
			t.Fatal(err)
		}
		holds(`"new"`)
		if err := write(`"old"`); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(kept); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left behind: %v", err)
		}
	}
	// A writer that notices itself.
	unlock, err := ocidir.Lock(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(index, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	unlock()
	holds(`"old"`)
	// The very first one.
	r.Dir = filepath.Join(t.TempDir(), "first")
	if err := errors.Join(os.Mkdir(r.Dir, 0o755), os.WriteFile(filepath.Join(r.Dir, "index.json"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := write(`"new"`); err != nil {
		t.Fatal(err)
	}
	holds(`"new"`)
}

// A cache whose directory is just being written is read when the writer is done,
// and not taken for a broken one.
func TestReadCacheWhileWritten(t *testing.T) {
	s := newStore(t, "")
	ctx := context.Background()
	r := CacheRef{Dir: filepath.Join(t.TempDir(), "cache"), Tag: "latest"}
	write := func(text string) {
		t.Helper()
		if err := s.WriteCache(ctx, r, "application/json", nil, func([]CacheBlob) ([]byte, error) { return []byte(text), nil }); err != nil {
			t.Fatal(err)
		}
	}
	read := func(ctx context.Context) (string, error) {
		items, err := s.OpenCache(ctx, r)
		if err != nil {
			return "", err
		}
		return string(items[0].Config), items[0].Close()
	}
	write(`"old"`)
	if text, err := read(ctx); err != nil || text != `"old"` {
		t.Fatalf("%s, %v", text, err)
	}
	index := filepath.Join(r.Dir, "index.json")
	whole, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := ocidir.Lock(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	// As it is between truncation and writing.
	if err := os.WriteFile(index, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const poll = 50 * time.Millisecond // how often a reader looks
	short, cancel := context.WithTimeout(ctx, 3*poll)
	defer cancel()
	if _, err := read(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a reader that is called off: %v", err)
	}
	done := time.AfterFunc(4*poll, func() {
		_ = os.WriteFile(index, whole, 0o644)
		unlock()
	})
	defer done.Stop()
	if text, err := read(ctx); err != nil || text != `"old"` {
		t.Errorf("after the writer: %q, %v", text, err)
	}
	if err := os.WriteFile(index, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := read(ctx); err == nil {
		t.Errorf("a broken cache that nobody writes gives %q", text)
	}
	if err := os.WriteFile(index, whole, 0o644); err != nil {
		t.Fatal(err)
	}

	// Readers and a writer side by side: each reader finds one cache or the other.
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if text, err := read(ctx); err != nil || text != `"old"` && text != `"new"` {
				t.Errorf("beside a writer: %q, %v", text, err)
				return
			}
		}
	}()
	for i := range 40 {
		write([]string{`"new"`, `"old"`}[i%2])
	}
	close(stop)
	<-ended
}

// A directory of others neither fills the memory nor is waited for for ever.
func TestHostileCacheDir(t *testing.T) {
	s := newStore(t, "")
	ctx := context.Background()
	r := CacheRef{Dir: filepath.Join(t.TempDir(), "cache"), Tag: "latest"}
	write := func() error {
		return s.WriteCache(ctx, r, "application/json", nil, func([]CacheBlob) ([]byte, error) { return []byte(`"x"`), nil })
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	items, err := s.OpenCache(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	items[0].Close()
	ix, err := ocidir.ReadIndex(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(r.Dir, "index.json")
	manifest := filepath.Join(r.Dir, "blobs/sha256", ix.Manifests[0].Digest.Encoded())
	for _, file := range []string{manifest, index} {
		for what, replace := range map[string]func() error{
			"huge": func() error { return os.Truncate(file, blob.MaxManifest+1) },
			"fifo": func() error { return errors.Join(os.Remove(file), unix.Mkfifo(file, 0o600)) },
		} {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := replace(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 2)
			go func() {
				_, err := s.OpenCache(ctx, r)
				done <- err
				if file == index {
					err = write()
				}
				done <- err
			}()
			for range 2 {
				select {
				case err := <-done:
					if !errs.Is(err, errs.Invalid) {
						t.Errorf("%s %s: %v", what, filepath.Base(file), err)
					}
				case <-time.After(10 * time.Second):
					t.Fatalf("%s %s: it is waited for", what, filepath.Base(file))
				}
			}
			if err := errors.Join(os.Remove(file), os.WriteFile(file, text, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
