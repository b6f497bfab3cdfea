// SPDX-License-Identifier: Apache-2.0

package ballast

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// blocks is the room that the reserve takes on disk, -1 where there is none.
func blocks(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, file), &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return -1
		}
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// TestEnsure: the room is really allocated, made once, and made whole where it is
// small.
func TestEnsure(t *testing.T) {
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || int64(fs.Bavail)*fs.Bsize < share*most {
		t.Skip("the file system is nearly full")
	}
	Ensure(dir)
	if n := blocks(t, dir); n < most {
		t.Fatalf("%d bytes are allocated", n)
	}
	before, err := os.Stat(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	Ensure(dir)
	if after, err := os.Stat(filepath.Join(dir, file)); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("it was made again: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	Ensure(dir)
	if n := blocks(t, dir); n < most {
		t.Errorf("a small one has %d bytes", n)
	}
}

// TestEnsureLink: what lies in its place is not followed.
func TestEnsureLink(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, file)); err != nil {
		t.Fatal(err)
	}
	Ensure(dir)
	if text, err := os.ReadFile(other); err != nil || string(text) != "x" {
		t.Errorf("the file behind a link is %q, %v", text, err)
	}
}

// TestRetry: only a full file system gives the room up, and the second outcome
// counts.
func TestRetry(t *testing.T) {
	for name, c := range map[string]struct {
		first, second error
		calls         int
	}{
		"success":      {nil, nil, 1},
		"other":        {unix.EIO, nil, 1},
		"full":         {&os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}, nil, 2},
		"over quota":   {fmt.Errorf("cannot: %w", unix.EDQUOT), nil, 2},
		"full for all": {unix.ENOSPC, unix.ENOSPC, 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			calls := 0
			err := Retry(dir, func() error {
				if calls++; calls == 1 {
					return c.first
				}
				return c.second
			})
			want := c.first
			if c.calls == 2 {
				want = c.second
			}
			if calls != c.calls || !errors.Is(err, want) {
				t.Errorf("%d calls, %v", calls, err)
			}
			if gone := blocks(t, dir) < 0; gone != (c.calls == 2) {
				t.Errorf("given up: %v", gone)
			}
		})
	}
}

// TestMakeRoom: where there is room the reserve stays.
func TestMakeRoom(t *testing.T) {
	dir := t.TempDir()
	MakeRoom(dir) // without one nothing is tried
	if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	MakeRoom(dir)
	if blocks(t, dir) < 0 {
		t.Error("it was given up on a file system with room")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
