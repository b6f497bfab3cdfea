// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vbatts/tar-split/archive/tar"

	"github.com/proa-containers/proa/pkg/errs"
)

// sparseEntry is an old GNU header of a file that is a hole but for its last byte.
func sparseEntry(name string, size int64) []byte {
	h := make([]byte, 512)
	number := func(at int, v int64) {
		h[at] = 0x80
		binary.BigEndian.PutUint64(h[at+4:], uint64(v))
	}
	copy(h, name)
	copy(h[100:], "0000644\x00")
	copy(h[108:], "0000000\x00")
	copy(h[116:], "0000000\x00")
	number(124, 1)
	copy(h[136:], "00000000000\x00")
	h[156] = 'S'
	copy(h[257:], "ustar  \x00")
	number(386, size-1)
	number(398, 1)
	number(483, size)
	copy(h[148:], strings.Repeat(" ", 8))
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return append(h, append([]byte{'x'}, make([]byte, 511+1024)...)...)
}

// A header alone must not fill the disk.
func TestHugeSparseFile(t *testing.T) {
	dir := t.TempDir()
	_, err := Tar(dir, bytes.NewReader(sparseEntry("hole", 1<<50)), Options{})
	if !errs.Is(err, errs.Denied) || !strings.Contains(err.Error(), "no space left") || errs.HintOf(err) == "" {
		t.Errorf("got %v (%v)", err, errs.KindOf(err))
	}
	if _, err := os.Stat(filepath.Join(dir, "hole")); err == nil {
		t.Error("the file was made")
	}
	_, err = Tar(dir, bytes.NewReader(sparseEntry("hole", 1<<20)), Options{})
	fi, serr := os.Stat(filepath.Join(dir, "hole"))
	if err != nil || serr != nil || fi.Size() != 1<<20 {
		t.Errorf("a modest one: %v %v", err, serr)
	}
}

// Many entries are read in little memory.
func TestManyEntries(t *testing.T) {
	r, w := io.Pipe()
	go func() {
		tw := tar.NewWriter(w)
		var err error
		for i := 0; i < 200_000 && err == nil; i++ {
			err = tw.WriteHeader(&tar.Header{Name: fmt.Sprintf("some/directory/with/a/name/%d", i), Mode: 0o644, Typeflag: tar.TypeReg})
		}
		if err == nil {
			err = tw.Close()
		}
		_ = w.CloseWithError(err)
	}()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	res, err := Record(r, io.Discard)
	runtime.ReadMemStats(&after)
	if err != nil || !res.SplitOK {
		t.Fatal(res, err)
	}
	if mib := int64(after.Sys-before.Sys) >> 20; mib > 128 {
		t.Errorf("took %d MiB", mib)
	}
}
