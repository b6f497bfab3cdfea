// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/dirwatch"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
)

// WaitConditions are Docker's, and those of podman's that name a state which a
// container of Proa can be in.
var WaitConditions = []string{
	"not-running", "next-exit", "removed",
	"created", "configured", "running", "paused", "exited", "stopped", "removing", "healthy", "unhealthy",
}

// CheckWaitCondition refuses conditions that Wait does not know.
func CheckWaitCondition(condition string) error {
	if condition == "" || slices.Contains(WaitConditions, condition) {
		return nil
	}
	return errs.WithHint(errs.New(errs.Invalid, "invalid condition: %q", condition), "conditions are %s", strings.Join(WaitConditions, ", "))
}

// Wait blocks until the first of the conditions holds; without any, until the
// container does not run. It returns the exit code or, as podman does, -1 for a
// condition that is no end.
func (e *Engine) Wait(ctx context.Context, ref string, conditions []string) (code int, err error) {
	for _, c := range conditions {
		if err := CheckWaitCondition(c); err != nil {
			return 0, err
		}
	}
	c, err := e.load(ctx, ref)
	if err == nil {
		err = c.away()
	}
	if err != nil {
		return 0, err
	}
	if len(conditions) == 0 {
		conditions = []string{"not-running"}
	}
	// What is here now wins over what may come in the same moment.
	type outcome struct {
		code int
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := make(chan outcome, len(conditions))
	for _, condition := range conditions {
		go func() {
			code, err := e.waitFor(ctx, c, condition)
			first <- outcome{code, err}
		}()
	}
	o := <-first
	return o.code, o.err
}

// notAnExit is what waiting for a state that is no end returns.
const notAnExit = -1

func (e *Engine) waitFor(ctx context.Context, c *container, condition string) (int, error) {
	is := func(states ...lifecycle.State) (int, error) {
		return notAnExit, e.await(ctx, c, func(c *container) bool { return c != nil && slices.Contains(states, summary(c).State) })
	}
	switch condition {
	case "next-exit":
		return e.nextExit(ctx, c)
	case "removed":
		return e.waitRemoved(ctx, c)
	case "running":
		return is(lifecycle.Running)
	case "created", "configured":
		return is(lifecycle.Created)
	case "paused":
		return is(lifecycle.Paused)
	case "removing":
		return is(lifecycle.Removing)
	case "healthy", "unhealthy":
		return notAnExit, e.waitHealth(ctx, c, condition)
	}
	return e.waitExit(ctx, c)
}

func (e *Engine) waitExit(ctx context.Context, c *container) (int, error) {
	for {
		if !c.locked {
			return c.ExitCode, nil
		}
		m, err := e.dial(c)
		var x monitor.Exit
		if err == nil {
			x, err = m.Wait(ctx, true)
		}
		if err == nil {
			return x.Code, e.settleExit(context.WithoutCancel(ctx), c, &x)
		}
		if !errs.Is(err, errs.State) {
			return 0, err
		}
		// Not listening yet, or gone without a word. Looking again is all there is to do: a
		// released lock gives no notice, and waiting in flock(2) would take it in the end,
		// so that a command that tries it at that moment would see a live container.
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		now, err := e.load(ctx, c.ID)
		if errs.Is(err, errs.NotFound) {
			if x, _ := e.removedEnd(c.ID); x != nil {
				return x.code, nil
			}
		}
		if err != nil {
			return 0, err
		}
		c = now
	}
}

// ended is the last end of a container that was removed.
type ended struct{ code, run int }

// removedEnd is how a container ended that was removed meanwhile, by its --rm or by
// another command; nil where nobody saw it. What was read of it before may be older
// than its end.
func (e *Engine) removedEnd(id string) (*ended, error) {
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	ev, err := db.LastEvent("destroy", id)
	if err != nil || ev == nil {
		return nil, err
	}
	code, cerr := strconv.Atoi(ev.Attributes[attrExitCode])
	run, rerr := strconv.Atoi(ev.Attributes[attrRun])
	if cerr != nil || rerr != nil {
		return nil, nil
	}
	return &ended{code, run}, nil
}

// nextExit waits for the next end of the container's process, restarts
// included, whatever the container is doing now.
func (e *Engine) nextExit(ctx context.Context, c *container) (int, error) {
	ended := c.Run // the runs that count no more
	if c.State.Live() && c.locked {
		ended--
	}
	w := e.watch()
	defer w.Close()
	for {
		e.addWatch(w, c)
		now, err := e.load(ctx, c.ID)
		if errs.Is(err, errs.NotFound) {
			if x, _ := e.removedEnd(c.ID); x != nil && x.run > ended {
				return x.code, nil
			}
		}
		if err != nil {
			return 0, err
		}
		if !now.locked && now.Run > ended {
			return now.ExitCode, nil // it ran meanwhile
		}
		if now.locked {
			// Maybe only on its way to the start: the monitor's word says which run it was.
			m, err := e.dial(now)
			if err == nil {
				var x monitor.Exit
				if x, err = m.WaitNext(ctx); err == nil && x.Run > ended {
					return x.Code, nil
				}
			}
			if err != nil && !errs.Is(err, errs.State) {
				return 0, err
			}
		}
		if err := w.Wait(ctx); err != nil {
			return 0, err
		}
	}
}

// waitRemoved returns the status of the last end before the removal.
func (e *Engine) waitRemoved(ctx context.Context, c *container) (code int, err error) {
	w := e.watch()
	defer w.Close()
	for {
		if code, err = e.waitExit(ctx, c); err != nil {
			return code, err
		}
		e.addWatch(w, c)
		now, err := e.load(ctx, c.ID)
		if errs.Is(err, errs.NotFound) {
			return code, nil
		}
		if err != nil {
			return 0, err
		}
		if c = now; c.locked {
			continue // somebody has started it, or removes it just now
		}
		if err := w.Wait(ctx); err != nil {
			return 0, err
		}
	}
}

func (e *Engine) waitHealth(ctx context.Context, c *container, status string) error {
	body, err := e.body(c.ID)
	if err != nil {
		return err
	}
	if health(&body.Spec, &body.Image) == nil {
		return errs.WithHint(errs.New(errs.State, "container %s has no health check", c.Name), "run it with --health-cmd COMMAND")
	}
	return e.await(ctx, c, func(now *container) bool {
		return now != nil && now.status != nil && now.status.Health != nil && now.status.Health.Status == status
	})
}

// lookEvery is how often a wait looks without being told of a change: a monitor
// that was killed changes no file, nor does another host that shares the data.
const lookEvery = 500 * time.Millisecond

func (e *Engine) watch() *dirwatch.Watcher { return dirwatch.New(lookEvery) }

// addWatch watches what a change of the container's state changes: its status
// and socket, its exit file, and the coming and going of its directories. The
// runtime directory is another one after each start.
func (e *Engine) addWatch(w *dirwatch.Watcher, c *container) {
	w.Add(e.dirs.ContainersRun(), e.dirs.ContainerRun(c.ID), e.dirs.Container(c.ID))
}

// await waits until done says yes; it gets nil once the container is removed.
func (e *Engine) await(ctx context.Context, c *container, done func(*container) bool) error {
	w := e.watch()
	defer w.Close()
	for {
		e.addWatch(w, c)
		now, err := e.load(ctx, c.ID)
		if err != nil && !errs.Is(err, errs.NotFound) {
			return err
		}
		if done(now) {
			return nil
		}
		if now == nil {
			return noSuchContainer(c.ID)
		}
		if err := w.Wait(ctx); err != nil {
			return err
		}
	}
}
