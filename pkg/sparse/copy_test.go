// SPDX-License-Identifier: Apache-2.0

package sparse

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// holed makes a file of 8 MiB in which little is written: at the beginning, in the middle, or
// nowhere.
func holed(t *testing.T, parts map[int64]string) (path string, content []byte) {
	t.Helper()
	const size = 8 << 20
	path, content = filepath.Join(t.TempDir(), "from"), make([]byte, size)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for at, text := range parts {
		copy(content[at:], text)
		if _, err := f.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	return path, content
}

func stat(t *testing.T, path string) (st unix.Stat_t) {
	t.Helper()
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestHolesStay(t *testing.T) {
	for name, parts := range map[string]map[int64]string{
		"nothing":      {},
		"the start":    {0: "start"},
		"the middle":   {5 << 20: "middle", 3 << 20: "another"},
		"the end":      {8<<20 - 3: "end"},
		"start to end": {0: "start", 8<<20 - 3: "end"},
	} {
		from, want := holed(t, parts)
		st := stat(t, from)
		for how, fill := range map[string]func(to, from *os.File) error{
			"clone": func(to, from *os.File) error { return new(Copier).Content(int(to.Fd()), int(from.Fd()), &st) },
			"copy": func(to, from *os.File) error {
				return (&Copier{noClones: true}).Content(int(to.Fd()), int(from.Fd()), &st)
			},
			"buffer": func(to, from *os.File) error {
				c := &Copier{}
				for at := int64(0); at < st.Size; {
					data, err := unix.Seek(int(from.Fd()), at, unix.SEEK_DATA)
					if err != nil {
						break
					}
					if at, err = unix.Seek(int(from.Fd()), data, unix.SEEK_HOLE); err != nil {
						return err
					}
					if err := c.partThrough(int(to.Fd()), int(from.Fd()), data, at); err != nil {
						return err
					}
				}
				return to.Truncate(st.Size)
			},
		} {
			src, err := os.Open(from)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "to")
			dst, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			err = fill(dst, src)
			src.Close()
			dst.Close()
			if got, rerr := os.ReadFile(path); err != nil || rerr != nil || !bytes.Equal(got, want) {
				t.Errorf("%s by %s: %d bytes, %v, %v; they differ from the %d of the source", name, how, len(got), err, rerr, len(want))
			}
			// Some blocks more are the file system's own, such as its lists of extents.
			if got, had := stat(t, path).Blocks, st.Blocks; got > had+64 {
				t.Errorf("%s by %s: %d blocks, and the source has %d", name, how, got, had)
			}
		}
	}
}
