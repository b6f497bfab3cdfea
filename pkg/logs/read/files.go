// SPDX-License-Identifier: Apache-2.0

package read

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/proa-containers/proa/pkg/logs"
)

const (
	blockSize = 64 << 10
	// maxRecord bounds a line of the file: our records stay below 100 kB, so
	// a longer one is garbage, of which no more than this is kept in memory.
	maxRecord = 1 << 20
)

// file is one of the files of a log.
type file struct {
	*os.File
	ino   uint64
	gz    bool
	start int64 // where to begin, in bytes of the text
	// current: it is the one that is written to.
	current bool
}

// isCopyOf reports whether f is what compression made of old: the same length,
// which gzip keeps at the end, and the same first line.
func (f *file) isCopyOf(old *file) bool {
	st, err := f.Stat()
	ost, oerr := old.Stat()
	if !f.gz || err != nil || oerr != nil || st.Size() < 4 {
		return false
	}
	var size [4]byte
	if _, err := f.ReadAt(size[:], st.Size()-4); err != nil || binary.LittleEndian.Uint32(size[:]) != uint32(ost.Size()) {
		return false
	}
	l, err := f.lines()
	if err != nil {
		return false
	}
	line, _, err := l.next()
	oldLine, _, oerr := (&lineReader{r: old}).next()
	return err == nil && oerr == nil && bytes.Equal(line, oldLine)
}

// openAll opens the files of the log at path, the oldest first. Where a
// rotation happens meanwhile the order is not to be trusted, and it looks again.
func openAll(path string) ([]*file, error) {
	for try := 0; ; try++ {
		fs, err := openOnce(path)
		if err != nil || try == 20 {
			return fs, err
		}
		var now uint64
		if st, err := os.Stat(path); err == nil {
			now = st.Sys().(*syscall.Stat_t).Ino
		}
		var then uint64
		if n := len(fs); n > 0 && fs[n-1].current {
			then = fs[n-1].ino
		}
		if now == then {
			return fs, nil
		}
		closeAll(fs)
	}
}

func openOnce(path string) ([]*file, error) {
	var found []*file
	seen := make(map[uint64]bool)
	add := func(name string, gz bool) (bool, error) {
		f, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		st, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return false, err
		}
		ino := st.Sys().(*syscall.Stat_t).Ino
		if seen[ino] {
			return true, f.Close()
		}
		seen[ino] = true
		found = append(found, &file{File: f, ino: ino, gz: gz, current: name == path})
		return true, nil
	}
	_, err := add(path, false)
	misses := 0
	for n := 1; err == nil && misses < 2; n++ {
		name := logs.Rotated(path, n)
		var ok bool
		if ok, err = add(name, false); err == nil && !ok {
			ok, err = add(name+".gz", true)
		}
		// One number may be missing: the moment between two renames.
		if ok {
			misses = 0
		} else {
			misses++
		}
	}
	if err != nil {
		closeAll(found)
		return nil, err
	}
	for i, j := 0, len(found)-1; i < j; i, j = i+1, j-1 {
		found[i], found[j] = found[j], found[i]
	}
	return found, nil
}

func closeAll(fs []*file) {
	for _, f := range fs {
		_ = f.Close()
	}
}

// lines reads f from start on.
func (f *file) lines() (*lineReader, error) {
	if !f.gz {
		return &lineReader{r: f, at: f.start}, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, z, f.start); err != nil {
		return nil, err
	}
	return &lineReader{r: stream{z}, at: f.start}, nil
}

// stream lets a lineReader read what cannot be read at an offset.
type stream struct{ io.Reader }

func (s stream) ReadAt(p []byte, _ int64) (int, error) { return s.Read(p) }

// lineReader splits a file, which may grow, into lines.
type lineReader struct {
	r    io.ReaderAt
	at   int64 // offset of the next byte to read
	buf  []byte
	pos  int  // of the next line in buf
	skip bool // within a line that is too long
}

// next is the next line without its line feed, valid until the next call, and
// the offset at which it begins. io.EOF: no whole line is there, as yet.
func (l *lineReader) next() (line []byte, off int64, err error) {
	for {
		if i := bytes.IndexByte(l.buf[l.pos:], '\n'); i >= 0 {
			line, off = l.buf[l.pos:l.pos+i], l.at-int64(len(l.buf)-l.pos)
			l.pos += i + 1
			if l.skip {
				l.skip = false
				continue
			}
			return line, off, nil
		}
		if err := l.fill(); err != nil {
			return nil, 0, err
		}
	}
}

func (l *lineReader) fill() error {
	if l.pos > 0 {
		l.buf = append(l.buf[:0], l.buf[l.pos:]...)
		l.pos = 0
	}
	if len(l.buf) >= maxRecord {
		l.buf, l.skip = l.buf[:0], true
	}
	n := len(l.buf)
	if cap(l.buf)-n < blockSize {
		l.buf = append(make([]byte, 0, 2*n+blockSize), l.buf...)
	}
	got, err := l.r.ReadAt(l.buf[n:min(cap(l.buf), n+blockSize)], l.at)
	if got < 0 {
		got = 0
	}
	l.buf = l.buf[:n+got]
	l.at += int64(got)
	if got > 0 {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

// rest is an unfinished last line.
func (l *lineReader) rest() []byte {
	if l.skip {
		return nil
	}
	return l.buf[l.pos:]
}

// backward calls fn for the whole lines of f from the last to the first, until
// it returns false. A last line without line feed counts as one.
func (f *file) backward(fn func(line []byte, off int64) bool) error {
	if f.gz {
		return f.backwardGzip(fn)
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	end := st.Size()
	var tail []byte // bytes from end on that belong to an unfinished line
	for end > 0 {
		n := min(end, blockSize)
		block := make([]byte, n, int(n)+len(tail))
		if _, err := f.ReadAt(block, end-n); err != nil {
			return err
		}
		end -= n
		block = append(block, tail...)
		for {
			i := bytes.LastIndexByte(bytes.TrimSuffix(block, []byte("\n")), '\n')
			if i < 0 {
				break
			}
			if !fn(bytes.TrimSuffix(block[i+1:], []byte("\n")), end+int64(i)+1) {
				return nil
			}
			block = block[:i+1]
		}
		if tail = block; len(tail) > maxRecord {
			tail = tail[:0]
		}
	}
	if len(tail) > 0 {
		fn(bytes.TrimSuffix(tail, []byte("\n")), 0)
	}
	return nil
}

// backwardGzip has to read from the beginning.
func (f *file) backwardGzip(fn func([]byte, int64) bool) error {
	f.start = 0
	l, err := f.lines()
	if err != nil {
		return err
	}
	type entry struct {
		line string
		off  int64
	}
	var all []entry
	for {
		line, off, err := l.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		all = append(all, entry{strings.Clone(string(line)), off})
	}
	for i := len(all) - 1; i >= 0; i-- {
		if !fn([]byte(all[i].line), all[i].off) {
			break
		}
	}
	return nil
}
