// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/logs/read"
	"github.com/proa-containers/proa/pkg/monitor/client"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/rootless/cgroup"
)

// dial connects to a container's monitor.
func (e *Engine) dial(c *container) (*client.Client, error) {
	if err := c.away(); err != nil {
		return nil, err
	}
	if c.run == "" {
		return nil, c.unseen(e.dirs.Run)
	}
	if err := c.understood(); err != nil {
		return nil, err
	}
	m, err := client.Dial(c.run)
	if errs.Is(err, errs.State) {
		return nil, notRunning(c.Container)
	}
	return m, err
}

// understood refuses a container whose monitor speaks another protocol than this
// program: its answers would mean something else.
func (c *container) understood() error {
	if c.status == nil || c.status.Understood() {
		return nil
	}
	return errs.WithHint(errs.New(errs.Unsupported, "container %s was started by another version of proa, which this one does not understand", c.Name),
		"stop it with that version, or with \"kill %d\"; then: proa start %s", c.status.MonitorPID, c.Name)
}

func notRunning(c *state.Container) error {
	return errs.WithHint(errs.New(errs.State, "container %s is not running", c.ID), "proa start %s", c.Name)
}

// loadRunning is load for what needs a process.
func (e *Engine) loadRunning(ctx context.Context, ref string) (*container, error) {
	c, err := e.load(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := c.away(); err != nil {
		return nil, err
	}
	if !c.running() {
		return nil, notRunning(c.Container)
	}
	return c, nil
}

// turn is a command's wait for another one that holds a container's locks, or
// for a monitor that has told its end: both are about to let go.
type turn struct{ begin time.Time }

// patience is how long a command waits for another one.
const patience = 30 * time.Second

// wait returns when it is time to look again: soon at first. It fails when ctx
// or the patience ends. The kernel gives no notice of a released lock to anyone
// who does not want to hold it next.
func (t *turn) wait(ctx context.Context) error {
	now := time.Now()
	if t.begin.IsZero() {
		t.begin = now
	}
	if now.Sub(t.begin) > patience {
		return errs.New(errs.InUse, "another command has held the container for %s", patience)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(200*time.Microsecond+now.Sub(t.begin), 20*time.Millisecond)):
	}
	return nil
}

// waitUnlocked waits until nobody holds the locks of a container.
func waitUnlocked(ctx context.Context, p rundir.Paths) error {
	var t turn
	for rundir.Alive(p) {
		if err := t.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// StopOptions override what the container says about its end.
type StopOptions struct {
	Signal  string // empty: the container's stop signal
	Timeout *int   // seconds before SIGKILL; nil: the container's own; negative: wait for ever
}

// Stop ends a container's process. A container that is not running is no error.
func (e *Engine) Stop(ctx context.Context, ref string, o StopOptions) error {
	c, err := e.load(ctx, ref)
	if err == nil {
		err = c.away()
	}
	if err != nil || !c.locked {
		return err
	}
	return e.stop(ctx, c, o)
}

func (e *Engine) stop(ctx context.Context, c *container, o StopOptions) error {
	sig := 0
	if o.Signal != "" {
		var err error
		if sig, err = spec.ParseSignal(o.Signal); err != nil {
			return err
		}
	}
	m, err := e.dial(c)
	if errs.Is(err, errs.State) {
		return nil
	}
	if err != nil {
		return err
	}
	x, err := m.Stop(ctx, sig, o.Timeout, true)
	if errs.Is(err, errs.State) {
		// It ended, or was killed, on its own while we asked.
		return e.settleGone(ctx, c)
	}
	if err != nil {
		return &errs.Error{Op: "stop container", Kind: errs.KindOf(err), Object: c.Name, Err: err}
	}
	return e.settleExit(context.WithoutCancel(ctx), c, &x)
}

// settleGone reconciles a container whose monitor has gone without a word.
func (e *Engine) settleGone(ctx context.Context, c *container) error {
	if err := waitUnlocked(ctx, e.paths(c.ID)); err != nil {
		return err
	}
	_, err := e.load(ctx, c.ID)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	return err
}

// Kill sends a signal ("" is SIGKILL; names with or without SIG, or numbers)
// to a running container's main process.
func (e *Engine) Kill(ctx context.Context, ref, signal string) error {
	if signal == "" {
		signal = "KILL"
	}
	sig, err := spec.ParseSignal(signal)
	if err != nil {
		return err
	}
	c, err := e.load(ctx, ref)
	if err != nil {
		return err
	}
	if err := c.away(); err != nil {
		return err
	}
	refused := errs.WithHint(errs.New(errs.State, "cannot kill container: %s: container %s is not running", ref, c.ID), "proa start %s", c.Name)
	if !c.running() {
		return refused
	}
	m, err := e.dial(c)
	if err == nil {
		err = m.Signal(ctx, sig)
	}
	if errs.Is(err, errs.State) {
		return refused
	}
	if err != nil || sig != 9 || c.Restart != "" && c.Restart != "no" {
		return err
	}
	// As in Docker: after a kill the container is seen to have ended.
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return errors.Join(ctx.Err(), e.settleGone(wait, c))
}

// Restart stops the container where it runs, and starts it.
func (e *Engine) Restart(ctx context.Context, ref string, o StopOptions) error {
	c, err := e.load(ctx, ref)
	if err != nil {
		return err
	}
	if c.locked {
		if c.AutoRemove {
			return errs.New(errs.State, "container %s was started with --rm: stopping it would remove it", c.Name)
		}
		if err := e.stop(ctx, c, o); err != nil {
			return err
		}
	}
	if c, err = e.loadAgain(ctx, c.ID, ref); err != nil {
		return err
	}
	return e.startLoaded(ctx, c, ref, StartOptions{})
}

// Pause freezes every process of a running container.
func (e *Engine) Pause(ctx context.Context, ref string) error {
	c, err := e.loadRunning(ctx, ref)
	if err != nil {
		return err
	}
	if c.State == lifecycle.Paused {
		return errs.New(errs.State, "Container %s is already paused", c.ID)
	}
	return e.freeze(ctx, c, (*client.Client).Pause, "pause")
}

// Unpause undoes Pause.
func (e *Engine) Unpause(ctx context.Context, ref string) error {
	c, err := e.loadRunning(ctx, ref)
	if err != nil {
		return err
	}
	if c.State != lifecycle.Paused {
		return errs.New(errs.State, "Container %s is not paused", c.ID)
	}
	return e.freeze(ctx, c, (*client.Client).Unpause, "unpause")
}

func (e *Engine) freeze(ctx context.Context, c *container, do func(*client.Client, context.Context) error, action string) error {
	m, err := e.dial(c)
	if err != nil {
		return err
	}
	if err := do(m, ctx); err != nil {
		hint := errs.HintOf(err)
		if fix := cgroup.Find().Fix; errs.Is(err, errs.Unsupported) && fix != "" {
			hint = fix + "; then start the container again"
		}
		return &errs.Error{Op: action + " container", Kind: errs.KindOf(err), Object: c.Name, Err: err, Hint: hint}
	}
	_, err = e.load(ctx, c.ID)
	return err
}

// Rename gives a container another name.
func (e *Engine) Rename(ctx context.Context, ref, name string) error {
	if name == "" || !validName.MatchString(name) {
		return errs.New(errs.Invalid, "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	c, err := e.load(ctx, ref)
	if err != nil {
		return err
	}
	if c.Name == name {
		return errs.New(errs.Invalid, "Renaming a container with the same name as its current name")
	}
	db, err := e.db()
	if err != nil {
		return err
	}
	err = db.Rename(c.ID, name)
	var taken *state.NameTaken
	if errors.As(err, &taken) {
		return errs.WithHint(conflict(taken), "choose another name, or free this one: proa rename %s OTHER", name)
	}
	return err
}

// LogOptions select lines of a container's log.
type LogOptions struct {
	Follow     bool
	Tail       int // last lines; negative: all
	Since      time.Time
	Until      time.Time
	Timestamps bool
	Details    bool
}

// Logs copies a container's log. With Follow it returns when the container has
// ended or ctx is done.
func (e *Engine) Logs(ctx context.Context, ref string, o LogOptions, stdout, stderr io.Writer) error {
	c, err := e.load(ctx, ref)
	if err != nil {
		return err
	}
	body, err := e.body(c.ID)
	if err != nil {
		return err
	}
	l, path := e.logging(c.ID, &body.Spec)
	p := &read.Printer{Out: stdout, Err: stderr, Timestamps: o.Timestamps, Details: o.Details}
	if err := c.away(); err != nil && o.Follow {
		return err
	}
	paths := e.paths(c.ID)
	err = read.Read(ctx, read.Source{Driver: l.Driver, Path: path, Alive: func() bool { return rundir.Alive(paths) }},
		read.Options{Tail: o.Tail, Since: o.Since, Until: o.Until, Stdout: stdout != nil, Stderr: stderr != nil, Follow: o.Follow}, p.Emit)
	if o.Follow && ctx.Err() != nil {
		return nil // Ctrl-C is how one leaves
	}
	return err
}

// Ports are the published ports of a container, with the host ports in use;
// empty where it does not run.
func (e *Engine) Ports(ctx context.Context, ref string) ([]spec.Port, error) {
	c, err := e.load(ctx, ref)
	if err == nil {
		err = c.away()
	}
	if err != nil || !c.running() || c.status == nil {
		return nil, err
	}
	return c.status.Attachment.Ports, nil
}
