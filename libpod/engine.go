// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"io"
	"sync"

	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/dirs"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/rootless/userns"
	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/progress"
)

// Options say where an Engine keeps its things.
type Options struct {
	Dirs dirs.Dirs
	// Notice is called with each sentence that the user should see once, without
	// a prefix or a newline: a monitor was killed, a limit is not available.
	// nil: they are dropped. It may be called from several goroutines.
	Notice func(string)
	// Warning is Notice for a part of the request that has no effect.
	Warning func(string)
	// NewProgress makes what shows a transfer on w; nil: progress.Plain.
	NewProgress func(w io.Writer) storage.Progress
}

// Engine runs containers for one user. It is cheap to open, opens the database
// and the image store only when a call needs them, and may be used by several
// goroutines.
type Engine struct {
	dirs        dirs.Dirs
	notice      func(string)
	warning     func(string)
	newProgress func(io.Writer) storage.Progress
	images      *storage.Store

	mu       sync.Mutex
	database *state.DB
}

// Open prepares an Engine; nothing is read from disk yet. The caller closes it.
func Open(_ context.Context, o Options) (*Engine, error) {
	if o.Dirs.Data == "" || o.Dirs.Run == "" {
		return nil, errs.New(errs.Internal, "cannot open the engine without directories")
	}
	e := &Engine{dirs: o.Dirs, notice: o.Notice, warning: o.Warning, newProgress: o.NewProgress, images: storage.Open(o.Dirs)}
	if e.notice == nil {
		e.notice = func(string) {}
	}
	if e.warning == nil {
		e.warning = e.notice
	}
	if e.newProgress == nil {
		e.newProgress = progress.Plain
	}
	return e, nil
}

// Close releases the database. It is safe to call twice, and a command that is
// about to end may leave it out: everything is committed by then, and SQLite
// would use the occasion for two fsyncs.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.images.Close()
	if e.database == nil {
		return err
	}
	if derr := e.database.Close(); err == nil {
		err = derr
	}
	e.database = nil
	return err
}

// db opens the database at its first use.
func (e *Engine) db() (*state.DB, error) {
	db, opened, err := e.openDB()
	if opened && db.Fresh() {
		e.tellLost()
	}
	return db, err
}

func (e *Engine) openDB() (db *state.DB, opened bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.database == nil {
		e.database, err = state.Open(e.dirs.DB())
		opened = err == nil
	}
	return e.database, opened, err
}

// namespace finds or prepares the user's namespace and tells its warning.
func (e *Engine) namespace(ctx context.Context) (*userns.Namespace, error) {
	ns, err := userns.Acquire(ctx, e.dirs.Run)
	if err != nil {
		return nil, err
	}
	if ns.Warning != "" {
		e.notice(ns.Warning)
	}
	return ns, nil
}

func (e *Engine) progress(w io.Writer) storage.Progress {
	if w == nil {
		return nil
	}
	return e.newProgress(w)
}

// body reads what was asked for when a container was made.
func (e *Engine) body(id string) (*state.Body, error) {
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	return db.Body(id)
}
