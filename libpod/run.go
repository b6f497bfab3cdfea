// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/failpoint"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/client"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
)

// RunOptions say how `run` connects to the container that it starts.
type RunOptions struct {
	Detach bool
	// Streams are the client's ends; ignored with Detach. A nil stream is not
	// attached.
	Streams Streams
	// Progress takes what is printed while a missing image is pulled (standard
	// error, usually); nil: nothing is printed.
	Progress io.Writer
	// Registry is how a missing image's registry is reached.
	Registry RemoteOptions
	// OnCreated, where not nil, is called with the id before the start: for
	// Detach's output nothing else is needed, Run returns the id as well.
	OnCreated func(id string)
}

// Run creates and starts a container and, without Detach, stays attached until
// its end. It returns the id as soon as there is one, even with an error. In
// the foreground a status other than 0 comes back as *errs.ExitError; a client
// that detached with its keys gets nil. A command that cannot be run has the
// kind CannotInvoke or CommandMissing; the container is then left in the state
// created, or removed with AutoRemove. When ctx ends before the start nothing
// is left.
//
// The order is what makes it quick: the monitor is on its way (entering
// namespaces, starting its Go runtime) while the front end makes directories
// and records.
func (e *Engine) Run(ctx context.Context, c *spec.Container, o RunOptions) (id string, err error) {
	var n *session
	if !o.Detach {
		if n, err = newSession(o.Streams, c.Process.TTY); err != nil {
			return "", err
		}
		defer n.end()
		n.stdinOnce = c.Process.StdinOnce
	}
	d, err := e.draft(ctx, c, PullOptions{RemoteOptions: o.Registry, Progress: o.Progress})
	if err != nil {
		return "", err
	}
	defer d.close()
	d.row.Run = 1
	l, err := e.launch(ctx, d.row.ID, &d.body.Spec, d.lock, n != nil)
	if err != nil {
		return "", errors.Join(err, e.abandon(ctx, d))
	}
	defer l.release()
	cfg, err := e.prepare(ctx, d, l)
	if err != nil {
		l.kill()
		return "", errors.Join(interrupted(ctx, err), e.abandon(ctx, d))
	}
	if o.OnCreated != nil {
		o.OnCreated(d.row.ID)
	}
	return d.row.ID, e.runDraft(ctx, d, l, cfg, n)
}

// prepare makes everything that the start needs while the monitor is on its
// way.
func (e *Engine) prepare(ctx context.Context, d *draft, l *launching) (*monitor.Config, error) {
	if err := e.reserve(ctx, d); err != nil {
		return nil, err
	}
	return e.config(ctx, d.row, &d.body, l)
}

// runDraft starts a reserved container and stays with it.
func (e *Engine) runDraft(ctx context.Context, d *draft, l *launching, cfg *monitor.Config, n *session) error {
	f, err := e.start(ctx, d.row, l, cfg, n)
	if err == nil {
		d.close()
		l.release()
		return f.finish(ctx)
	}
	f.cancel()
	l.kill()
	if d.body.Spec.Lifecycle.AutoRemove || ctx.Err() != nil {
		return errors.Join(interrupted(ctx, err), e.abandon(ctx, d))
	}
	return errors.Join(err, e.failedStart(d.row, &d.body.Rootfs, err))
}

// interrupted is why a start came to nothing: the end of ctx, which shows in
// many ways, or err itself.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// foreground is an attached container, or one that was only started.
type foreground struct {
	e  *Engine
	c  *container
	n  *session // nil: detached
	a  *client.Attachment
	ch <-chan copied
}

// start sends the configuration and waits for the process. The streams are
// connected before it runs, so that not a byte is missed. The result is never
// nil.
func (e *Engine) start(ctx context.Context, row *state.Container, l *launching, cfg *monitor.Config, n *session) (*foreground, error) {
	f := &foreground{e: e, c: &container{Container: row, locked: true, run: e.dirs.ContainerRun(row.ID)}, n: n}
	if n == nil {
		return f, errors.Join(e.begin(ctx, l, row, cfg, nil, nil), ctx.Err())
	}
	cfg.Process.Rows, cfg.Process.Cols = n.size()
	err := e.begin(ctx, l, row, cfg, n.request(), func(a *client.Attachment) {
		a.SettlesRecord = true
		f.a = a
		f.ch = n.pump(a)
	})
	if err == nil {
		err = n.connect(f.a)
	}
	if err == nil {
		// From here on a signal is the container's business. One that came
		// before means that the start is not wanted any more.
		err = ctx.Err()
	}
	if err == nil {
		n.feed(f.a)
	}
	return f, err
}

func (f *foreground) finish(ctx context.Context) error {
	if f.n == nil {
		return nil
	}
	return f.e.outcome(ctx, f.c, f.n, f.a, f.ch)
}

func (f *foreground) cancel() {
	if f.n != nil {
		f.n.end()
	}
	if f.a != nil {
		_ = f.a.Close()
	}
}

// StartOptions say whether `start` stays with the container.
type StartOptions struct {
	Attach  bool
	Streams Streams // with Attach
}

// Start starts a created or exited container; a running one is left alone.
// With Attach it behaves as Run does in the foreground.
func (e *Engine) Start(ctx context.Context, ref string, o StartOptions) error {
	c, err := e.load(ctx, ref)
	if err != nil {
		return err
	}
	return e.startLoaded(ctx, c, ref, o)
}

// startLoaded starts the container c, which the user calls ref.
func (e *Engine) startLoaded(ctx context.Context, c *container, ref string, o StartOptions) error {
	for t := (turn{}); ; {
		if err := c.away(); err != nil {
			return err
		}
		if c.State.Live() && c.locked && !c.Starting() {
			if c.State == lifecycle.Paused {
				return errs.WithHint(errs.New(errs.State, "cannot start a paused container, try unpause instead"), "proa unpause %s", c.Name)
			}
			if o.Attach {
				return e.Attach(ctx, c.ID, o.Streams)
			}
			return nil
		}
		if _, err := lifecycle.Next(c.State, lifecycle.EvStart); err != nil && !c.locked {
			return monitor.RemovalBegun(c.Name)
		}
		lock, err := rundir.Lock(e.paths(c.ID))
		if errs.Is(err, errs.State) {
			// Another command starts or removes it, or its monitor is about to go.
			if err := t.wait(ctx); err != nil {
				return err
			}
			if c, err = e.loadAgain(ctx, c.ID, ref); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		return e.startLocked(ctx, c, ref, lock, o)
	}
}

// startLocked starts a container whose locks are held; it closes them.
func (e *Engine) startLocked(ctx context.Context, c *container, ref string, lock *rundir.Hold, o StartOptions) error {
	defer lock.Close()
	db, err := e.db()
	if err != nil {
		return err
	}
	// What was read before the lock may be out of date.
	row, err := db.Get(c.ID)
	if err != nil {
		return err
	}
	if row == nil {
		return errors.Join(noSuchContainer(ref), os.RemoveAll(e.dirs.ContainerRun(c.ID)))
	}
	if row.State == lifecycle.Removing || row.State == lifecycle.Dead {
		return errors.Join(monitor.RemovalBegun(row.Name), os.RemoveAll(e.dirs.ContainerRun(row.ID)))
	}
	if now, _ := e.look(row, true); now.host != "" {
		return errors.Join(now.away(), os.RemoveAll(e.dirs.ContainerRun(row.ID)))
	}
	body, err := db.Body(row.ID)
	if err != nil {
		return err
	}
	var n *session
	if o.Attach {
		if n, err = newSession(o.Streams, body.Spec.Process.TTY); err != nil {
			return errors.Join(err, os.RemoveAll(e.dirs.ContainerRun(row.ID)))
		}
		defer n.end()
		n.stdinOnce = body.Spec.Process.StdinOnce
	}
	l, err := e.launch(ctx, row.ID, &body.Spec, lock, n != nil)
	if err != nil {
		return errors.Join(err, os.RemoveAll(e.dirs.ContainerRun(row.ID)))
	}
	defer l.release()
	f, err := e.startAgain(ctx, row, body, l, n)
	if err == nil {
		lock.Close()
		l.release()
		return f.finish(ctx)
	}
	if f != nil {
		f.cancel()
	}
	l.kill()
	return errors.Join(interrupted(ctx, err), e.failedStart(row, nil, err))
}

func (e *Engine) startAgain(ctx context.Context, row *state.Container, body *state.Body, l *launching, n *session) (*foreground, error) {
	err := e.rewrite(row, nil, state.Event{}, func(r *lifecycle.Record) {
		r.State, r.StartedAt, r.Error, r.StoppedByUser = lifecycle.Running, time.Time{}, "", false
		r.Run, r.Place = r.Run+1, e.here(&monitor.Status{})
	})
	if err != nil {
		return nil, err
	}
	if err := failpoint.Hit(FailpointStartIntended); err != nil {
		return nil, err
	}
	if body.Rootfs.Driver == "" {
		// Its creator died between the start and the record of it.
		img, err := e.images.Resolve(row.ImageID)
		if err != nil {
			return nil, err
		}
		if body.Rootfs, err = e.rootfs(ctx, img, row.ID); err != nil {
			return nil, err
		}
	}
	cfg, err := e.config(ctx, row, body, l)
	if err != nil {
		return nil, err
	}
	if cfg.Rootfs.Driver != body.Rootfs.Driver {
		// Readers of the writable layer must know whose marks are in it.
		if err := e.rewrite(row, &cfg.Rootfs, state.Event{}, func(*lifecycle.Record) {}); err != nil {
			return nil, err
		}
	}
	return e.start(ctx, row, l, cfg, n)
}

// Attach connects the client's streams to a running container until its end,
// whose status comes back as in Run.
func (e *Engine) Attach(ctx context.Context, ref string, s Streams) error {
	c, err := e.load(ctx, ref)
	if err != nil {
		return err
	}
	if err := c.away(); err != nil {
		return err
	}
	if !c.running() {
		return errs.WithHint(errs.New(errs.State, "You cannot attach to a stopped container, start it first"), "proa start -a %s", c.Name)
	}
	if c.State == lifecycle.Paused {
		return errs.WithHint(errs.New(errs.State, "You cannot attach to a paused container, unpause it first"), "proa unpause %s", c.Name)
	}
	body, err := e.body(c.ID)
	if err != nil {
		return err
	}
	if !body.Spec.Process.OpenStdin {
		s.NoStdin = true
	}
	n, err := newSession(s, body.Spec.Process.TTY)
	if err != nil {
		return err
	}
	defer n.end()
	n.stdinOnce = body.Spec.Process.StdinOnce
	m, err := e.dial(c)
	if err != nil {
		return err
	}
	a, err := m.Attach(*n.request())
	if err != nil {
		return err
	}
	a.SettlesRecord = true
	if err := n.connect(a); err != nil {
		return errors.Join(err, a.Close())
	}
	n.feed(a)
	return e.outcome(ctx, c, n, a, n.pump(a))
}
