// SPDX-License-Identifier: Apache-2.0

package rmtree

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// deep nests directories below top, which a path could not name.
func deep(t *testing.T, top string, levels int) {
	t.Helper()
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	for range levels {
		if err != nil {
			t.Fatal(err)
		}
		if err = unix.Mkdirat(fd, "d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err = unix.Symlinkat("/", fd, "link"); err != nil {
			t.Fatal(err)
		}
		up := fd
		fd, err = unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		unix.Close(up)
	}
	unix.Close(fd)
}

func TestRemoveDeep(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	top := filepath.Join(dir, "top")
	for _, name := range []string{"top", "top/a", "top/b", "top/.proa-removed-1"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		deep(t, filepath.Join(dir, name), 1500)
	}
	few := old
	few.Cur = 300
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }()
	if err := os.RemoveAll(top); !TooDeep(err) {
		t.Fatalf("the library can do it: %v", err)
	}
	if err := Remove(top); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(top); !os.IsNotExist(err) {
		t.Error(err)
	}
	if err := Remove(top); err != nil {
		t.Error(err)
	}
}
