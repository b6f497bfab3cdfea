// SPDX-License-Identifier: Apache-2.0

// Package sparse writes files without the long runs of zeros that an archive spells out:
// no writer of archives here can describe a hole, so a disk image or a database that has
// some would come back with all of them as blocks on the disk. It also copies files
// with the holes that they have.
package sparse

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

// piece is the unit that is left out, at multiples of its size. Shorter runs are written:
// programs are full of them, and each hole costs the file system an extent.
const piece = 32 << 10

var zeros [piece]byte

// Writer writes to a new, empty file from its beginning. It is no io.Closer: the caller
// calls Finish after the last Write, and closes the file itself.
type Writer struct {
	fd   int
	off  int64
	hole bool // what was left out last is the end so far
}

// NewWriter returns a Writer to the file fd.
func NewWriter(fd int) *Writer { return &Writer{fd: fd} }

// Write writes p, but for the pieces of p that are zeros only.
func (w *Writer) Write(p []byte) (n int, err error) {
	for n < len(p) {
		run := w.pieces(p[n:], false)
		if err := w.writeAll(p[n : n+run]); err != nil {
			return n, err
		}
		n += run
		gap := w.pieces(p[n:], true)
		n, w.off = n+gap, w.off+int64(gap)
		if run+gap > 0 {
			w.hole = gap > 0
		}
	}
	return n, nil
}

// pieces is the length of what p begins with: whole pieces of zeros, or all else.
func (w *Writer) pieces(p []byte, zero bool) int {
	n := 0
	for n < len(p) {
		next := min(len(p)-n, piece-int((w.off+int64(n))%piece))
		if (next == piece && bytes.Equal(p[n:n+piece], zeros[:])) != zero {
			break
		}
		n += next
	}
	return n
}

func (w *Writer) writeAll(p []byte) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(w.fd, p, w.off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		p, w.off = p[n:], w.off+int64(n)
	}
	return nil
}

// Finish gives the file its size where it ends in a hole.
func (w *Writer) Finish() error {
	if !w.hole {
		return nil
	}
	for {
		if err := unix.Ftruncate(w.fd, w.off); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
