// SPDX-License-Identifier: Apache-2.0

// Package state is the database of one user's Proa: SQLite in WAL mode with
// synchronous=NORMAL. A committed change survives the death of any process; a
// power loss may take the last ones away, never the consistency of the rest.
// Nothing here needs an fsync but the checkpoint that SQLite makes once in
// about a hundred changed pages.
//
// Every command opens the file anew, so opening is what has to be cheap: the
// driver is used without database/sql, and the schema is small because SQLite
// parses all of it at the first statement.
package state

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mattn/go-sqlite3"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/ballast"
	"github.com/proa-containers/proa/pkg/errs"
)

const (
	// busyTimeout bounds the wait for another process's transaction; each one
	// takes well under a millisecond, so only a stopped process reaches it.
	busyTimeout = 60 * time.Second
	// checkpointPages is the length of the WAL, in pages, at which a commit
	// copies it into the database. Short, because the first process to open
	// the file reads the whole WAL.
	checkpointPages = 160
)

// DB is an open database. Its methods may be called from several goroutines;
// they take turns.
type DB struct {
	mu    sync.Mutex
	conn  *sqlite3.SQLiteConn
	path  string
	fresh bool // there was no file
	// reserved: this process has seen to the ballast.
	reserved bool
}

// Open opens the database at path and makes it where it does not exist. The
// directory must exist.
func Open(path string) (*DB, error) {
	d := &DB{path: path}
	if err := d.connect(); err != nil {
		return nil, d.explain("open", err)
	}
	if err := d.withBallast(d.migrate); err != nil {
		_ = d.conn.Close()
		return nil, d.explain("open", err)
	}
	return d, nil
}

// Fresh reports whether Open made the file.
func (d *DB) Fresh() bool { return d.fresh }

// connect opens the file without touching its content.
func (d *DB) connect() error {
	fresh := false
	if _, err := os.Stat(d.path); errors.Is(err, fs.ErrNotExist) {
		// SQLite would use the umask; the file lists environment variables.
		f, err := os.OpenFile(d.path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		_ = f.Close()
		fresh, d.fresh = true, true
	}
	dsn := (&url.URL{Scheme: "file", Path: d.path}).String() +
		fmt.Sprintf("?_mutex=no&_busy_timeout=%d", busyTimeout.Milliseconds())
	c, err := (&sqlite3.SQLiteDriver{}).Open(dsn)
	if err != nil {
		return err
	}
	d.conn = c.(*sqlite3.SQLiteConn)
	pragmas := fmt.Sprintf("PRAGMA synchronous=NORMAL; PRAGMA cache_size=-512; PRAGMA wal_autocheckpoint=%d", checkpointPages)
	if fresh {
		pragmas = "PRAGMA page_size=4096; " + pragmas
	}
	if _, err := d.conn.Exec(pragmas, nil); err != nil {
		_ = c.Close()
		return err
	}
	return nil
}

// Close releases the database. The WAL stays as it is where another process
// has the file open; the last one to close folds it in, which costs two
// fsyncs: a command about to end rather leaves the descriptor to the kernel.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return nil
	}
	err := d.conn.Close()
	d.conn = nil
	return err
}

// Journal is SQLite's journal mode: "wal", or "truncate" on a network file
// system.
func (d *DB) Journal() (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text("PRAGMA journal_mode")
}

// Check runs SQLite's integrity check; it reads the whole file.
func (d *DB) Check() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.text("PRAGMA integrity_check")
	if err != nil {
		return d.explain("check", err)
	}
	if s != "ok" {
		return d.explain("check", &corruptError{s})
	}
	return nil
}

type corruptError struct{ text string }

func (e *corruptError) Error() string { return e.text }

// explain turns a driver's error into one that says what to do.
func (d *DB) explain(op string, err error) error {
	if err == nil {
		return nil
	}
	var known *errs.Error
	if errors.As(err, &known) {
		return err
	}
	e := &errs.Error{Op: op + " the database", Object: d.path, Err: err}
	var se sqlite3.Error
	var ce *corruptError
	switch {
	case errors.As(err, &ce), errors.As(err, &se) && (se.Code == sqlite3.ErrCorrupt || se.Code == sqlite3.ErrNotADB):
		e.Kind = errs.Corrupt
		e.Hint = fmt.Sprintf("set it aside with \"mv %s %s.bad\" (and its -wal and -shm files); images are kept, "+
			"\"proa system check --repair\" finds volumes again, containers must be made again", d.path, d.path)
	case errors.As(err, &se) && se.Code == sqlite3.ErrBusy:
		e.Kind = errs.Timeout
		e.Err = errors.New("another process has held it for a minute")
		e.Hint = fmt.Sprintf("find the process with \"fuser -v %s\"", d.path)
	case ballast.Full(full(err)):
		e.Kind, e.Err = errs.Unavailable, full(err)
		e.Hint = "the file system is full: remove containers and images with \"proa rm -f\", \"proa rmi\" or " +
			"\"proa system prune\"; where that fails too, delete other files first"
	case errors.As(err, &se) && (se.Code == sqlite3.ErrReadonly || se.Code == sqlite3.ErrCantOpen || se.Code == sqlite3.ErrPerm),
		errors.Is(err, fs.ErrPermission):
		e.Kind = errs.Denied
		e.Hint = fmt.Sprintf("%s must be a writable directory of your own; PROA_DATA_DIR chooses another", d.path)
	}
	return e
}

// full gives an error of SQLite that means a full file system, or a used up quota,
// the error number that says so. Others come back as they are.
func full(err error) error {
	var se sqlite3.Error
	switch {
	case !errors.As(err, &se):
		return err
	case se.Code == sqlite3.ErrFull:
		return &fullError{err, unix.ENOSPC}
	case se.SystemErrno == unix.ENOSPC || se.SystemErrno == unix.EDQUOT:
		return &fullError{err, se.SystemErrno}
	}
	return err
}

type fullError struct {
	err   error
	errno error
}

func (e *fullError) Error() string   { return e.err.Error() }
func (e *fullError) Unwrap() []error { return []error{e.err, e.errno} }

// withBallast is retry for what must be possible on a full disk: reading, whose
// index SQLite may have to make anew, and the records of ends and removals.
func (d *DB) withBallast(fn func() error) error {
	return ballast.Retry(filepath.Dir(d.path), func() error { return full(d.retry(fn)) })
}

// retry calls fn again while SQLite says busy without having asked its busy
// handler: the opening of the WAL by two processes at once, and a snapshot
// overtaken by a checkpoint.
func (d *DB) retry(fn func() error) error {
	deadline := time.Now().Add(busyTimeout)
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		err := fn()
		var se sqlite3.Error
		if !errors.As(err, &se) || (se.Code != sqlite3.ErrBusy && se.Code != sqlite3.ErrLocked) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(wait)
	}
}

// write runs fn in a transaction that holds the write lock from its start, so
// that what fn reads is still true when it writes.
func (d *DB) write(op string, fn func() error) error { return d.writeBy(op, d.retry, fn) }

// settle is write for what says that something has ended or goes: on a full disk
// it gets the room that was laid aside.
func (d *DB) settle(fn func() error) error { return d.writeBy("write", d.withBallast, fn) }

func (d *DB) writeBy(op string, try func(func() error) error, fn func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return errs.New(errs.Internal, "the database is closed")
	}
	if err := try(func() error { return d.transaction(fn) }); err != nil {
		return d.explain(op, err)
	}
	if !d.reserved {
		d.reserved = true
		ballast.Ensure(filepath.Dir(d.path))
	}
	return nil
}

func (d *DB) transaction(fn func() error) error {
	if err := d.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		err = d.exec("COMMIT")
	}
	if err != nil && !d.conn.AutoCommit() {
		_ = d.exec("ROLLBACK")
	}
	return err
}

// read runs fn, which makes a single query.
func (d *DB) read(fn func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return errs.New(errs.Internal, "the database is closed")
	}
	return d.explain("read", d.withBallast(fn))
}

func (d *DB) exec(q string, args ...driver.Value) error {
	_, err := d.conn.Exec(q, args)
	return err
}

// change is exec that returns the number of rows changed.
func (d *DB) change(q string, args ...driver.Value) (int64, error) {
	r, err := d.conn.Exec(q, args)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// query calls row with each row's values; they are valid during the call only.
func (d *DB) query(row func(v []driver.Value) error, q string, args ...driver.Value) error {
	rows, err := d.conn.Query(q, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	v := make([]driver.Value, len(rows.Columns()))
	for {
		err := rows.Next(v)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := row(v); err != nil {
			return err
		}
	}
}

func (d *DB) text(q string, args ...driver.Value) (s string, err error) {
	err = d.query(func(v []driver.Value) error { s = str(v[0]); return nil }, q, args...)
	return s, err
}

func (d *DB) integer(q string, args ...driver.Value) (n int64, err error) {
	err = d.query(func(v []driver.Value) error { n = num(v[0]); return nil }, q, args...)
	return n, err
}

func str(v driver.Value) string {
	switch x := v.(type) {
	case string:
		return x
	case []byte:
		return string(x)
	}
	return ""
}

func blob(v driver.Value) []byte {
	switch x := v.(type) {
	case []byte:
		return append([]byte(nil), x...)
	case string:
		return []byte(x)
	}
	return nil
}

func num(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func when(v driver.Value) time.Time {
	n := num(v)
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
