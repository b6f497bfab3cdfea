// SPDX-License-Identifier: Apache-2.0

package atomicfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out
}

func TestWrite(t *testing.T) {
	for _, d := range []Durability{Volatile, Durable} {
		dir := t.TempDir()
		p := filepath.Join(dir, "f")
		old := syscall.Umask(0o077)
		err := Write(p, []byte("one"), 0o644, d)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteJSON(p, map[string]int{"a": 1}, 0o640, d); err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(p)
		if string(b) != "{\"a\":1}\n" {
			t.Errorf("content %q", b)
		}
		if fi, _ := os.Stat(p); fi.Mode().Perm() != 0o640 {
			t.Errorf("mode %v", fi.Mode())
		}
		if got := names(t, dir); len(got) != 1 {
			t.Errorf("left behind: %v", got)
		}
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "d")
	if err := os.Mkdir(p, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(p, []byte("one"), 0o644, Durable); err == nil {
		t.Error("replaced a directory")
	}
	if err := WriteJSON(filepath.Join(dir, "j"), func() {}, 0o644, Durable); err == nil {
		t.Error("wrote a function as JSON")
	}
	if err := Write(filepath.Join(dir, "none", "f"), nil, 0o644, Volatile); err == nil {
		t.Error("wrote into a missing directory")
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
	f, err := Create(filepath.Join(dir, "aborted"), 0o600, Durable)
	if err != nil {
		t.Fatal(err)
	}
	if !IsTemp(filepath.Base(f.Name())) || IsTemp("aborted") {
		t.Error("IsTemp")
	}
	f.Abort()
	f.Abort()
	if err := f.Commit(); err == nil {
		t.Error("committed after an abort")
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func TestLongestName(t *testing.T) {
	p := filepath.Join(t.TempDir(), strings.Repeat("x", 255))
	if err := Write(p, nil, 0o600, Volatile); err != nil {
		t.Error(err)
	}
}

func TestReadersSeeWholeContent(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	content := func(i int) string { return strings.Repeat(fmt.Sprint(i%10), 5000+i) }
	if err := Write(p, []byte(content(0)), 0o600, Volatile); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := range 200 {
				if err := Write(p, []byte(content(2*i+w)), 0o600, Volatile); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 500 {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(b); s != content(len(s)-5000) {
			t.Fatal("torn content")
		}
	}
	wg.Wait()
}
