// SPDX-License-Identifier: Apache-2.0

package events

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/proa-containers/proa/pkg/dirwatch"
)

// lookEvery is how often a follower looks without a notice of inotify: a network file
// system gives none of other hosts' writes.
const lookEvery = time.Second

// Reader reads events in the order of the journal. It belongs to one goroutine.
type Reader struct {
	j      *Journal
	since  time.Time
	number uint64 // of f; 0: before the first
	f      *os.File
	buf    *bufio.Reader
	part   []byte // a line that has no end yet
	sealed bool   // f was sealed before the last look at its end
	w      *dirwatch.Watcher
}

// Reader reads what happened at or after since; everything that is kept with the zero
// time. The caller closes it.
func (j *Journal) Reader(since time.Time) *Reader { return &Reader{j: j, since: since} }

// Close ends the reader.
func (r *Reader) Close() {
	if r.f != nil {
		_ = r.f.Close()
		r.f = nil
	}
	r.w.Close()
}

// Next returns the next event, and io.EOF at the end of the journal. Later calls go on
// there and find what came since.
func (r *Reader) Next() (*Event, error) {
	for {
		line, err := r.line()
		if err != nil {
			return nil, err
		}
		var e Event
		// What is no event is a line that was cut off; the writer of that one was not
		// told that it succeeded.
		if json.Unmarshal(line, &e) != nil || e.Action == "" || e.TimeNano == 0 {
			continue
		}
		if !e.When().Before(r.since) {
			return &e, nil
		}
	}
}

// Follow is Next that waits at the end, until ctx ends.
func (r *Reader) Follow(ctx context.Context) (*Event, error) {
	if r.w == nil {
		// First the watch: what comes after the look at the end ends the wait.
		if err := os.MkdirAll(r.j.dir, 0o700); err != nil {
			return nil, err
		}
		r.w = dirwatch.New(r.j.every)
		r.w.Add(r.j.dir)
	}
	for {
		if e, err := r.Next(); !errors.Is(err, io.EOF) {
			return e, err
		}
		if err := r.w.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

// line returns the next whole line of the journal.
func (r *Reader) line() ([]byte, error) {
	for {
		if r.f != nil {
			part, err := r.buf.ReadBytes('\n')
			r.part = append(r.part, part...)
			if err == nil {
				line := r.part
				r.part = nil
				return line, nil
			}
			if !errors.Is(err, io.EOF) {
				return nil, err
			}
			if !r.sealed {
				// A sealed file gets nothing more; but it may have got something
				// between the look at its end and its seal.
				next, err := r.next()
				if err != nil {
					return nil, err
				}
				if next == 0 {
					return nil, io.EOF
				}
				r.sealed = true
				continue
			}
		}
		if err := r.open(); err != nil {
			return nil, err
		}
	}
}

// next is the number of the file after the present one, 0 where there is none.
func (r *Reader) next() (uint64, error) {
	list, err := r.j.list()
	for _, n := range list {
		if n > r.number {
			return n, err
		}
	}
	return 0, err
}

// open goes to the next file; io.EOF where there is none.
func (r *Reader) open() error {
	for {
		n, err := r.next()
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		f, err := os.Open(r.j.path(n))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a writer removed it as too old
		}
		if err != nil {
			return err
		}
		if r.f != nil {
			_ = r.f.Close()
		}
		r.number, r.f, r.buf, r.part, r.sealed = n, f, bufio.NewReader(f), nil, false
		return nil
	}
}
