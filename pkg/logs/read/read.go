// SPDX-License-Identifier: Apache-2.0

// Package read reads the logs that package logs writes: also while they are
// written, rotated and compressed, and after a monitor was killed in the
// middle of a line.
package read

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/proa-containers/proa/pkg/dirwatch"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/logs"
)

// Source is a log.
type Source struct {
	Driver string
	Path   string
	// Alive reports whether more may be written: whether the container's
	// monitor lives. With Options.Follow it is asked a few times a second;
	// reading ends when it says no. Nil stands for no.
	Alive func() bool
}

// Options choose records. The zero time is no limit.
type Options struct {
	Tail         int // the last lines of those that match; negative: all
	Since, Until time.Time
	Stdout       bool
	Stderr       bool
	Follow       bool
}

// ErrNoRead is what reading a log that is not kept fails with.
func ErrNoRead() error {
	return errs.WithHint(errs.New(errs.Unsupported, "configured logging driver does not support reading"),
		"run the container with --log-driver json-file")
}

// reader is one Read.
type reader struct {
	src    Source
	o      Options
	decode decoder
	emit   func(*logs.Record) error
}

// pollEvery is how often a follower looks without being told to: for the end
// of the container, and where the kernel does not tell of changes.
const pollEvery = 200 * time.Millisecond

// errUntil ends a read at Options.Until.
var errUntil = errors.New("until reached")

// Read calls emit for each record that o chooses, in the order of writing. The
// record is valid during the call; an error from emit ends the read and is
// returned. A log that does not exist (yet) is empty. With Follow it returns
// nil when the container has ended and everything was read, or the context's
// error.
func Read(ctx context.Context, src Source, o Options, emit func(*logs.Record) error) error {
	switch src.Driver {
	case "", logs.JSONFile, logs.K8sFile:
	default:
		return ErrNoRead()
	}
	r := &reader{src: src, o: o, decode: newDecoder(src.Driver), emit: emit}
	err := r.read(ctx)
	if errors.Is(err, errUntil) {
		return nil
	}
	return err
}

func (r *reader) read(ctx context.Context) error {
	var w *dirwatch.Watcher
	if r.o.Follow {
		// Before the first look, so that nothing is missed in between.
		w = dirwatch.New(pollEvery)
		defer w.Close()
		w.Add(filepath.Dir(r.src.Path)) // rotation replaces the file
	}
	files, err := openAll(r.src.Path)
	if err != nil {
		return &errs.Error{Op: "read log", Kind: errs.KindOf(err), Object: r.src.Path, Err: err}
	}
	defer func() { closeAll(files) }()
	if r.o.Tail >= 0 {
		if files, err = r.tail(files); err != nil {
			return err
		}
	} else if !r.o.Since.IsZero() {
		files = skipOld(files, r.o.Since)
	}
	for i, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		l, err := f.lines()
		if err != nil {
			if f.gz {
				continue // cut off or removed under our hands
			}
			return err
		}
		if i == len(files)-1 && r.o.Follow {
			return r.follow(ctx, w, f, l)
		}
		if err := r.drain(l, true); err != nil {
			return err
		}
	}
	if r.o.Follow {
		return r.follow(ctx, w, nil, nil)
	}
	return nil
}

// skipOld leaves out the files whose last write was before since.
func skipOld(files []*file, since time.Time) []*file {
	for len(files) > 1 {
		st, err := files[0].Stat()
		if err != nil || !st.ModTime().Before(since) {
			break
		}
		_ = files[0].Close()
		files = files[1:]
	}
	return files
}

// drain emits the lines that are there. final says that no more will come: an
// unfinished last line that is a record after all is taken, too.
func (r *reader) drain(l *lineReader, final bool) error {
	for {
		line, _, err := l.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return &errs.Error{Op: "read log", Object: r.src.Path, Err: err}
		}
		if err := r.line(line); err != nil {
			return err
		}
	}
	if rest := l.rest(); final && len(rest) > 0 {
		return r.line(rest)
	}
	return nil
}

func (r *reader) line(line []byte) error {
	var rec logs.Record
	if r.decode(line, &rec) != nil {
		return nil
	}
	if !r.o.Until.IsZero() && rec.Time.After(r.o.Until) {
		return errUntil
	}
	if !r.matches(&rec) {
		return nil
	}
	return r.emit(&rec)
}

func (r *reader) matches(rec *logs.Record) bool {
	if rec.Stream == logs.Stdout && !r.o.Stdout || rec.Stream == logs.Stderr && !r.o.Stderr {
		return false
	}
	if !r.o.Since.IsZero() && rec.Time.Before(r.o.Since) {
		return false
	}
	return r.o.Until.IsZero() || !rec.Time.After(r.o.Until)
}

// tail finds where the last Tail lines begin, going back from the end, and
// returns the files from there on.
func (r *reader) tail(files []*file) ([]*file, error) {
	count, first := 0, len(files)
	var open [3]bool // by stream: the line to which parts belong is counted
	for i := len(files) - 1; i >= 0; i-- {
		f := files[i]
		begin, full := int64(-1), false
		err := f.backward(func(line []byte, off int64) bool {
			var rec logs.Record
			if r.decode(line, &rec) != nil || !r.matches(&rec) {
				return true
			}
			if !rec.Partial || !open[rec.Stream] {
				if count == r.o.Tail {
					full = true
					return false
				}
				count++
				open[rec.Stream] = true
			}
			begin = off
			return true
		})
		if err != nil && !f.gz {
			return nil, &errs.Error{Op: "read log", Object: r.src.Path, Err: err}
		}
		if begin >= 0 {
			f.start, first = begin, i
		}
		if full {
			break
		}
	}
	if first == len(files) && first > 0 {
		// No line at all; a follower goes on from the end.
		first--
		st, err := files[first].Stat()
		if err != nil {
			return nil, err
		}
		files[first].start = st.Size()
	}
	closeAll(files[:first])
	return files[first:], nil
}

// follow reads on where l stands, or from the first file that appears.
func (r *reader) follow(ctx context.Context, w *dirwatch.Watcher, f *file, l *lineReader) error {
	defer func() {
		if f != nil {
			_ = f.Close()
		}
	}()
	if !r.o.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, r.o.Until, errUntil)
		defer cancel()
	}
	for {
		// Asked first: what was written before it ended is read after.
		alive := r.src.Alive != nil && r.src.Alive()
		moved := r.rotated(f)
		if l != nil {
			if err := r.drain(l, moved || !alive); err != nil {
				return err
			}
		}
		if moved {
			nf, nl, err := r.advance(f)
			if f != nil {
				_ = f.Close()
			}
			if err != nil {
				return err
			}
			f, l = nf, nl
			continue
		}
		if f != nil && r.truncated(f, l) {
			l = &lineReader{r: f}
			continue
		}
		if !alive {
			return nil
		}
		if err := w.Wait(ctx); err != nil {
			return err
		}
	}
}

// rotated reports whether another file has taken the place of f.
func (r *reader) rotated(f *file) bool {
	st, err := os.Stat(r.src.Path)
	if err != nil {
		return false
	}
	return f == nil || st.Sys().(*syscall.Stat_t).Ino != f.ino
}

func (r *reader) truncated(f *file, l *lineReader) bool {
	st, err := f.Stat()
	return err == nil && st.Size() < l.at
}

// advance reads the files that are newer than f to their ends but for the
// newest, which it returns.
func (r *reader) advance(f *file) (*file, *lineReader, error) {
	files, err := openAll(r.src.Path)
	if err != nil || len(files) == 0 {
		return nil, nil, err
	}
	newest, first := len(files)-1, 0
	if f != nil {
		first = min(r.firstAfter(files, f), newest)
	}
	closeAll(files[:first])
	for _, x := range files[first:newest] {
		if l, err := x.lines(); err == nil {
			if err := r.drain(l, true); err != nil {
				closeAll(files[first:])
				return nil, nil, err
			}
		}
		_ = x.Close()
	}
	l, err := files[newest].lines()
	return files[newest], l, err
}

// firstAfter is the index of the first file newer than f. Files go away from
// the oldest on, so where f is not found all are newer.
func (r *reader) firstAfter(files []*file, f *file) int {
	for i, x := range files {
		if x.ino == f.ino || x.isCopyOf(f) {
			return i + 1
		}
	}
	return 0
}
