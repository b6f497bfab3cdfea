// SPDX-License-Identifier: Apache-2.0

package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func has(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s has %q, want %q (%v)", path, got, want, err)
	}
}

func listed(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestOutput(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "a"), filepath.Join(dir, "link")
	if err := errors.Join(Output(path, 0o640, text("one")), os.Symlink("a", link), Output(link, 0o600, text("two"))); err != nil {
		t.Fatal(err)
	}
	has(t, path, "two")
	if fi, err := os.Lstat(path); err != nil || fi.Mode() != 0o640 {
		t.Errorf("%v %v", fi, err)
	}
	broken := errors.New("broken")
	err := Output(path, 0o600, func(w io.Writer) error { return errors.Join(text("half")(w), broken) })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	has(t, path, "two")
	if got := listed(t, dir); got != "a link" {
		t.Errorf("there are %s", got)
	}
	if err := Output(filepath.Join(dir, "none/b"), 0o600, text("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := Output("/dev/null", 0o600, text("x")); err != nil {
		t.Error(err)
	}
}

// A pipe is not replaced by a file.
func TestOutputToPipe(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		b, err := os.ReadFile(fifo)
		if err != nil {
			t.Error(err)
		}
		got <- string(b)
	}()
	if err := Output(fifo, 0o600, text("through")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "through" {
		t.Errorf("the reader got %q", s)
	}
}

// What a killed writer left goes; what one is writing stays.
func TestOutputSweeps(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	stale, other := filepath.Join(dir, ".a"+tempMark+"1"), filepath.Join(dir, ".b"+tempMark+"1")
	for _, p := range []string{stale, other} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := Output(path, 0o600, func(w io.Writer) error {
		return errors.Join(text("outer")(w), Output(path, 0o600, text("inner")))
	})
	if err != nil {
		t.Fatal(err)
	}
	has(t, path, "outer")
	if got := listed(t, dir); got != ".b"+tempMark+"1 a" {
		t.Errorf("there are %s", got)
	}
}

// However many write at once, the file is that of one of them.
func TestOutputAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 50 {
				if err := Output(path, 0o600, text(strings.Repeat(string(rune('a'+i)), 5000))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(path)
	if err != nil || len(got) != 5000 || strings.Trim(string(got), string(got[:1])) != "" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got := listed(t, dir); got != "a" {
		t.Errorf("there are %s", got)
	}
}
