// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"

	"github.com/proa-containers/proa/pkg/dirs"
	"github.com/proa-containers/proa/pkg/errs"
)

// Options say where an Engine keeps its things.
type Options struct {
	Dirs dirs.Dirs
	// Notice is called with each sentence that the user should see once, without
	// a prefix or a newline: a monitor was killed, a limit is not available.
	// nil: they are dropped. It may be called from several goroutines.
	Notice func(string)
}

// Engine runs containers for one user. It is cheap to open, opens the database
// and the image store only when a call needs them, and may be used by several
// goroutines.
type Engine struct {
	dirs   dirs.Dirs
	notice func(string)
}

// Open prepares an Engine; nothing is read from disk yet. The caller closes it.
func Open(_ context.Context, o Options) (*Engine, error) {
	e := &Engine{dirs: o.Dirs, notice: o.Notice}
	if e.notice == nil {
		e.notice = func(string) {}
	}
	return e, nil
}

// Close releases the database. It is safe to call twice, and a command that is
// about to end may leave it out: everything is committed by then.
func (e *Engine) Close() error { return nil }

func todo() error { return errs.New(errs.Internal, "not written yet") }
