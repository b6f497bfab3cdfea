// SPDX-License-Identifier: Apache-2.0

package sparse

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestWriter writes texts in portions of many sizes: what is read is what was written,
// and only long runs of zeros are holes.
func TestWriter(t *testing.T) {
	full := func(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }
	for name, c := range map[string]struct {
		text  []byte
		holes bool
	}{
		"empty":            {nil, false},
		"short":            {[]byte("text"), false},
		"short zeros":      {full(100, 0), false},
		"zeros":            {full(1<<20, 0), true},
		"zeros, odd size":  {full(1<<20+77, 0), true},
		"hole in front":    {append(full(1<<20, 0), "text"...), true},
		"hole in the end":  {append([]byte("text"), full(1<<20, 0)...), true},
		"hole between":     {append(append(full(1000, 'x'), full(1<<20, 0)...), full(70_000, 'y')...), true},
		"zeros below size": {append(append(full(40_000, 'x'), full(30_000, 0)...), full(70_000, 'y')...), false},
	} {
		for _, portion := range []int{1 << 20, 128 << 10, 10_000, 511} {
			f, err := os.Create(filepath.Join(t.TempDir(), "f"))
			if err != nil {
				t.Fatal(err)
			}
			w := NewWriter(int(f.Fd()))
			for rest := c.text; len(rest) > 0; {
				n := min(len(rest), portion)
				if k, err := w.Write(rest[:n]); err != nil || k != n {
					t.Fatalf("%s: wrote %d of %d: %v", name, k, n, err)
				}
				rest = rest[n:]
			}
			if err := w.Finish(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			if err != nil || !bytes.Equal(got, c.text) {
				t.Errorf("%s in portions of %d: %d bytes came back as %d others, %v", name, portion, len(c.text), len(got), err)
			}
			fi, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			// Portions below the size of a piece are written whatever they hold.
			st := fi.Sys().(*syscall.Stat_t)
			if portion > piece*2 && (st.Blocks*512 < st.Size-piece) != c.holes {
				t.Errorf("%s in portions of %d: %d bytes take %d blocks", name, portion, st.Size, st.Blocks)
			}
			f.Close()
		}
	}
}
