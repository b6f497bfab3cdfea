// SPDX-License-Identifier: Apache-2.0

// Package events keeps the journal of what happens to containers, images and volumes:
// JSON lines in numbered files of one directory, to which any process of the user appends.
//
// The file with the highest number takes new events; the existence of the next file seals
// the one before it. A writer appends an event with one write(2) while it holds the lock of
// that file (flock), and the writer that finds it full makes the next. So a killed writer
// leaves at most one line without an end, at the end of a file, and the next writer ends it.
// Readers take no lock: they read whole lines, skip what is not an event, and read on
// where they stopped.
//
//	writer              1.jsonl (sealed)      2.jsonl
//	list: highest is 1
//	open, lock 1, list  ------ lock --------
//	highest is still 1, but it is full:
//	                    make 2, remove old    empty
//	                    ----- unlock -------
//	open, lock 2, list                        ------ lock ---
//	write               never written again   {"Type":...}\n
package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/filelock"
)

// Event is one thing that happened to an object, with Docker's fields and names.
type Event struct {
	Type     string // container, image, volume, network
	Action   string // create, start, die, destroy, ...
	Actor    Actor
	Scope    string `json:"scope"`
	Time     int64  `json:"time"` // seconds
	TimeNano int64  `json:"timeNano"`
}

// Actor is the object of an event.
type Actor struct {
	ID         string
	Attributes map[string]string
}

// When is the time of the event.
func (e *Event) When() time.Time { return time.Unix(0, e.TimeNano) }

const (
	fileSize  = 4 << 20 // from which on the next file begins
	keepFiles = 3       // sealed ones
	maxLine   = 1 << 20 // an event with more labels than that is refused
	suffix    = ".jsonl"
)

// Journal is the journal in a directory. Its methods may be called at the same time.
type Journal struct {
	dir   string
	size  int64
	keep  uint64
	every time.Duration
}

// In is the journal in dir, which the first event makes.
func In(dir string) *Journal {
	return &Journal{dir: dir, size: fileSize, keep: keepFiles, every: lookEvery}
}

func (j *Journal) path(n uint64) string {
	return filepath.Join(j.dir, strconv.FormatUint(n, 10)+suffix)
}

// list returns the numbers of the files in ascending order; none where there is no directory.
func (j *Journal) list() ([]uint64, error) {
	d, err := os.Open(j.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	var list []uint64
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, suffix)
		if n, err := strconv.ParseUint(digits, 10, 64); ok && err == nil && n > 0 {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, err
}

func (j *Journal) highest() (uint64, error) {
	list, err := j.list()
	if err != nil || len(list) == 0 {
		return 1, err
	}
	return list[len(list)-1], nil
}

// Append writes an event. An event without a time happens now. When Append returns nil,
// every reader sees the event, and it outlives the process; it is not synced to the disk.
// After an error no reader sees it. A wait for another writer ends with ctx.
func (j *Journal) Append(ctx context.Context, e Event) error {
	if e.TimeNano == 0 {
		e.TimeNano = time.Now().UnixNano()
	}
	e.Time = e.TimeNano / int64(time.Second)
	if e.Scope == "" {
		e.Scope = "local"
	}
	line, err := json.Marshal(e)
	if err == nil && len(line) >= maxLine {
		err = fmt.Errorf("an event of %d bytes is larger than %d bytes", len(line), maxLine)
	}
	for again := true; again && err == nil; {
		again, err = j.try(ctx, append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("cannot write the event %s %s: %w", e.Type, e.Action, err)
	}
	return nil
}

// try appends line to the newest file, or says that there is a newer one.
func (j *Journal) try(ctx context.Context, line []byte) (again bool, err error) {
	n, err := j.highest()
	if err != nil {
		return false, err
	}
	f, err := j.open(n)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := filelock.Until(ctx, f, unix.LOCK_EX); err != nil {
		return false, err
	}
	// Only the holder of the newest file's lock makes the next: what is the newest
	// now remains it until f is closed.
	if now, err := j.highest(); err != nil || now != n {
		return err == nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	size := st.Size()
	if size > 0 && size+int64(len(line)) > j.size {
		return true, j.next(n)
	}
	if torn(f, size) {
		line = append([]byte{'\n'}, line...)
	}
	// One call: os.File.Write would go on after a part, and no part may stay.
	wrote, err := write(f, line)
	if err == nil && wrote < len(line) {
		err = unix.ENOSPC
	}
	if err != nil && wrote > 0 {
		_ = f.Truncate(size)
	}
	return false, err
}

func (j *Journal) open(n uint64) (*os.File, error) {
	const how = os.O_RDWR | os.O_APPEND | os.O_CREATE
	f, err := os.OpenFile(j.path(n), how, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(j.dir, 0o700); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(j.path(n), how, 0o600)
	}
	return f, err
}

// next seals the file n, whose lock the caller holds, and removes what is too old.
func (j *Journal) next(n uint64) error {
	f, err := j.open(n + 1)
	if err != nil {
		return err
	}
	_ = f.Close()
	list, err := j.list()
	for _, old := range list {
		if old+j.keep <= n {
			_ = os.Remove(j.path(old))
		}
	}
	return err
}

// torn says that a writer was killed in the middle of the last line.
func torn(f *os.File, size int64) bool {
	var last [1]byte
	if size == 0 {
		return false
	}
	n, _ := f.ReadAt(last[:], size-1)
	return n == 1 && last[0] != '\n'
}

func write(f *os.File, b []byte) (int, error) {
	for {
		n, err := unix.Write(int(f.Fd()), b)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}
