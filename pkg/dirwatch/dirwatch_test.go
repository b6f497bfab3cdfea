// SPDX-License-Identifier: Apache-2.0

package dirwatch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWait(t *testing.T) {
	dir, later := t.TempDir(), filepath.Join(t.TempDir(), "later")
	w := New(time.Minute)
	defer w.Close()
	w.Add(dir, later) // one that is not there is no error
	change := func(what func() error) {
		t.Helper()
		if err := what(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := w.Wait(t.Context()); err != nil || time.Since(begin) > 10*time.Second {
			t.Fatalf("%v after %v", err, time.Since(begin))
		}
	}
	name := filepath.Join(dir, "file")
	change(func() error { return os.WriteFile(name, nil, 0o600) })
	change(func() error { return os.Remove(name) })
	if err := os.Mkdir(later, 0o700); err != nil {
		t.Fatal(err)
	}
	w.Add(dir, later)
	change(func() error { return os.Remove(later) })
}

func TestWaitWithoutChange(t *testing.T) {
	for name, w := range map[string]*Watcher{"inotify": New(time.Millisecond), "poll": {every: time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			defer w.Close()
			w.Add(t.TempDir())
			if err := w.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			w.every = time.Minute
			if err := w.Wait(ctx); err == nil {
				t.Error("Wait must end with its context")
			}
		})
	}
}
