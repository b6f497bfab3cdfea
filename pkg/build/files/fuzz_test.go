// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzMode(f *testing.F) {
	for _, s := range []string{"", "755", "07777", "u=rwX,go=rX", "a+s", "=", "+", "u", "99999999999", "g-w,o=t"} {
		f.Add(s, uint32(0o644))
	}
	f.Fuzz(func(t *testing.T, s string, mode uint32) {
		m, err := ParseMode(s)
		if err != nil || m == nil {
			return
		}
		for _, dir := range []bool{false, true} {
			if got := m.apply(mode&0o7777, dir); got > 0o7777 {
				t.Fatalf("%q makes mode %o", s, got)
			}
		}
	})
}

func FuzzEntryName(f *testing.F) {
	for _, s := range []string{"a/b", "/a", "../a", "a/../../b", "./.", "a//b/", "..", "a/..b", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := entryName(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(name, "/") || name == ".." || strings.HasPrefix(name, "../") || strings.Contains(name, "/../") || strings.HasSuffix(name, "/..") {
			t.Fatalf("%q becomes %q, which leads out", s, name)
		}
	})
}

// Whatever an archive says, nothing appears outside the directory that it is
// unpacked to.
func FuzzUntar(f *testing.F) {
	f.Add([]byte("not an archive"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		top := t.TempDir()
		in := filepath.Join(top, "in")
		if err := os.Mkdir(in, 0o700); err != nil {
			t.Fatal(err)
		}
		r, err := OpenRoot(in)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		own := ExtractOptions{Owner: &Owner{os.Getuid(), os.Getgid()}}
		_ = Extract(r, "/", bytes.NewReader(archive), own)
		_ = Extract(r, "/deep", bytes.NewReader(archive), own)
		if ents, err := os.ReadDir(top); err != nil || len(ents) != 1 {
			t.Fatalf("the archive reached the directory above: %v %v", ents, err)
		}
	})
}
