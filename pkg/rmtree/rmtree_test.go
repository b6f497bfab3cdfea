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

// Somebody makes a file again while the directory is being removed.
func TestRemoveWhileAdded(t *testing.T) {
	top := filepath.Join(t.TempDir(), "top")
	for range 300 {
		if err := os.Mkdir(top, 0o755); err != nil {
			t.Fatal(err)
		}
		begun, done, failed := make(chan bool), make(chan bool), make(chan bool)
		go func() {
			defer close(done)
			for i := range 3 { // three times anew
				for made := false; !made; {
					select {
					case <-failed:
						return
					default:
					}
					f, err := os.OpenFile(filepath.Join(top, "lock"), os.O_CREATE|os.O_EXCL, 0o600)
					if made = err == nil; made {
						f.Close()
					} else if os.IsNotExist(err) {
						return
					}
				}
				if i == 0 {
					close(begun)
				}
			}
		}()
		<-begun
		if err := Remove(top); err != nil {
			close(failed)
			<-done
			t.Fatal(err)
		}
		<-done
		_ = os.RemoveAll(top)
	}
}
