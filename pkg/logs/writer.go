// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/proa-containers/proa/pkg/errs"
)

const (
	flushAt  = 16 << 10 // encoded bytes that are written together
	keepBuf  = 8 << 10  // buffers above this size are not kept between writes
	keepLine = 1 << 10
	fileMode = 0o640
)

// fileWriter is the writer of the drivers that keep files.
type fileWriter struct {
	mu      sync.Mutex
	cfg     Config
	encode  encoder
	f       *os.File // nil once closed
	size    int64
	torn    bool // the file ends within a record
	buf     []byte
	rec     Record // what encode gets: no garbage per line
	pending [2]pendingLine
	zip     sync.WaitGroup
	now     func() time.Time
	err     error // not reported yet
}

// pendingLine is the beginning of a line whose end has not come.
type pendingLine struct {
	at     time.Time // of its first byte
	buf    []byte
	within bool // parts of the line were written already
}

func openFile(c Config, enc encoder) (*fileWriter, error) {
	w := &fileWriter{cfg: c, encode: enc, now: time.Now}
	if err := w.open(os.O_APPEND); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *fileWriter) open(flag int) error {
	f, err := os.OpenFile(w.cfg.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND|flag, fileMode)
	if err != nil {
		return &errs.Error{Op: "open log", Kind: errs.Denied, Object: w.cfg.Path, Err: err,
			Hint: "check that its directory exists and belongs to you"}
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return &errs.Error{Op: "open log", Object: w.cfg.Path, Err: err}
	}
	w.f, w.size, w.torn = f, st.Size(), false
	if w.size > 0 {
		var last [1]byte
		_, err := f.ReadAt(last[:], w.size-1)
		w.torn = err == nil && last[0] != '\n'
	}
	return nil
}

func (w *fileWriter) Write(s Stream, p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return os.ErrClosed
	}
	now := w.now()
	pend := &w.pending[s-1]
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.hold(s, pend, p, now)
			break
		}
		w.line(s, pend, p[:i], now)
		p = p[i+1:]
	}
	w.flush()
	if cap(w.buf) > keepBuf {
		w.buf = nil
	}
	return w.takeErr()
}

// takeErr is the first error since the last call. A failed write does not stop
// the others: the next may find room again.
func (w *fileWriter) takeErr() error {
	err := w.err
	w.err = nil
	return err
}

func (w *fileWriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// line logs a line whose end has come.
func (w *fileWriter) line(s Stream, pend *pendingLine, p []byte, now time.Time) {
	if len(pend.buf) > 0 {
		// Rare: only the first line of a chunk has a beginning elsewhere.
		w.hold(s, pend, p, now)
		p = pend.buf
	}
	if len(pend.buf) > 0 || pend.within {
		now = pend.at
	}
	for len(p) > MaxLine {
		n := cut(p)
		w.record(Record{Time: now, Stream: s, Partial: true, Line: p[:n]})
		p = p[n:]
	}
	w.record(Record{Time: now, Stream: s, Line: p})
	pend.reset()
}

func (p *pendingLine) reset() {
	p.buf, p.within = p.buf[:0], false
	if cap(p.buf) > keepLine {
		p.buf = nil
	}
}

// hold keeps the beginning of a line, in parts where it is long.
func (w *fileWriter) hold(s Stream, pend *pendingLine, p []byte, now time.Time) {
	if len(pend.buf) == 0 && !pend.within {
		pend.at = now
	}
	pend.buf = append(pend.buf, p...)
	rest := pend.buf
	for len(rest) > MaxLine {
		n := cut(rest)
		w.record(Record{Time: pend.at, Stream: s, Partial: true, Line: rest[:n]})
		pend.within = true
		rest = rest[n:]
	}
	pend.buf = append(pend.buf[:0], rest...)
}

// cut is where to cut a long line: at MaxLine, but not inside a character.
func cut(p []byte) int {
	n := MaxLine
	for back := 0; back < utf8.UTFMax && n > 0; back++ {
		if utf8.RuneStart(p[n]) {
			return n
		}
		n--
	}
	return MaxLine
}

func (w *fileWriter) record(r Record) {
	w.rec = r
	w.buf = w.encode(w.buf, &w.rec)
	if len(w.buf) >= flushAt || w.cfg.MaxSize > 0 && int64(len(w.buf)) >= w.cfg.MaxSize {
		w.flush()
	}
}

// flush hands the encoded records to the kernel.
func (w *fileWriter) flush() {
	if len(w.buf) == 0 {
		return
	}
	if w.cfg.MaxSize > 0 && w.size > 0 && w.size+int64(len(w.buf)) > w.cfg.MaxSize {
		if err := w.rotate(); err != nil {
			w.fail(err)
		}
	}
	if w.torn {
		// What came before is one broken line, not a broken line and ours.
		w.buf = append(w.buf, 0)
		copy(w.buf[1:], w.buf)
		w.buf[0] = '\n'
	}
	n, err := w.f.Write(w.buf)
	w.size += int64(n)
	if n > 0 {
		w.torn = w.buf[n-1] != '\n'
	}
	w.buf = w.buf[:0]
	if err != nil {
		w.fail(&errs.Error{Op: "write log", Object: w.cfg.Path, Err: err})
	}
}

// rotate moves the files on by one number and starts a new one. When that
// fails the current file is used on: a log that is too big is better than one
// that ends.
func (w *fileWriter) rotate() error {
	path := w.cfg.Path
	if w.cfg.MaxFiles < 2 {
		if err := w.f.Truncate(0); err != nil {
			return err
		}
		w.size, w.torn = 0, false
		return nil
	}
	w.zip.Wait()
	last := w.cfg.MaxFiles - 1
	remove(Rotated(path, last))
	for n := last - 1; n >= 1; n-- {
		move(Rotated(path, n), Rotated(path, n+1))
	}
	if err := os.Rename(path, Rotated(path, 1)); err != nil {
		return err
	}
	old := w.f
	if err := w.open(os.O_EXCL); err != nil {
		_ = os.Rename(Rotated(path, 1), path)
		w.f = old
		return err
	}
	_ = old.Close()
	if w.cfg.Compress {
		w.zip.Go(func() { compress(Rotated(path, 1)) })
	}
	return nil
}

func remove(name string) {
	_ = os.Remove(name)
	_ = os.Remove(name + ".gz")
}

// move renames a rotated file in whichever form it is. Where both are there, a
// compression was cut off after its rename, and they are the same.
func move(from, to string) {
	remove(to)
	if os.Rename(from, to) == nil {
		_ = os.Remove(from + ".gz")
		return
	}
	_ = os.Rename(from+".gz", to+".gz")
}

// compress replaces name by name.gz. When it fails the plain file stays, and
// is read as well as any.
func compress(name string) {
	tmp := name + ".gz.tmp"
	if gzipFile(name, tmp) != nil || os.Rename(tmp, name+".gz") != nil {
		_ = os.Remove(tmp)
		return
	}
	_ = os.Remove(name)
}

func gzipFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}

func (w *fileWriter) End(s Stream) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return os.ErrClosed
	}
	w.finish(s)
	w.flush()
	return w.takeErr()
}

// finish logs the unfinished line of a stream.
func (w *fileWriter) finish(s Stream) {
	pend := &w.pending[s-1]
	if len(pend.buf) > 0 || pend.within {
		w.record(Record{Time: pend.at, Stream: s, Line: pend.buf})
		pend.reset()
	}
}

func (w *fileWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return nil
	}
	w.finish(Stdout)
	w.finish(Stderr)
	w.flush()
	if err := w.f.Close(); err != nil {
		w.fail(err)
	}
	w.f = nil
	w.zip.Wait()
	return w.takeErr()
}
