// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/network/ipam"
	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/ballast"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/hostid"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/names"
	"github.com/proa-containers/proa/pkg/rundir"
)

// container is a record that has been reconciled with what is there.
type container struct {
	*state.Container
	locked bool            // a monitor, or a front end, is at work
	run    string          // the runtime directory where the monitor is reached; "": it cannot be seen from here
	host   string          // the other host that has it under way; "": none
	status *monitor.Status // of a live monitor; nil: none, or not yet
	exit   *monitor.Exit   // of the last run; nil: not read, or none
}

// running reports that the container's process is there.
func (c *container) running() bool { return c.State.Live() && c.locked }

// load finds a container and reconciles it.
func (e *Engine) load(ctx context.Context, ref string) (*container, error) {
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	row, err := db.Find(ref)
	if errs.Is(err, errs.NotFound) {
		return nil, didYouMean(db, ref, err)
	}
	if err != nil {
		return nil, err
	}
	c, err := e.reconcile(ctx, row)
	if errs.Is(err, errs.NotFound) || err == nil && c == nil {
		return nil, noSuchContainer(ref) // removed while it was looked at
	}
	return c, err
}

// loadAgain is load for a container that was found before, by what the user calls
// it: ref. Another one may be called so by now.
func (e *Engine) loadAgain(ctx context.Context, id, ref string) (*container, error) {
	c, err := e.load(ctx, id)
	if errs.Is(err, errs.NotFound) {
		return nil, noSuchContainer(ref)
	}
	return c, err
}

// didYouMean adds the name that ref is likely meant for to the error about it.
func didYouMean(db *state.DB, ref string, err error) error {
	list, lerr := db.List()
	if lerr != nil {
		return err
	}
	known := make([]string, len(list))
	for i, c := range list {
		known[i] = c.Name
	}
	if like := names.Nearest(ref, known); like != "" {
		return errs.WithHint(err, "did you mean %s?", like)
	}
	return err
}

func noSuchContainer(ref string) error {
	return errs.New(errs.NotFound, "No such container: %s", ref)
}

// reconcile compares a record with what is there, stores what follows, and
// clears away what a killed process left behind. It returns nil where nothing
// of the container may stay.
func (e *Engine) reconcile(ctx context.Context, row *state.Container) (*container, error) {
	c, o := e.observe(row)
	next, act := lifecycle.Reconcile(row.Record, row.AutoRemove, o)
	if act == 0 {
		return c, nil
	}
	if act&lifecycle.Clear != 0 && !rundir.Alive(e.paths(c.ID)) {
		e.clearDead(c.ID)
	}
	if act&lifecycle.Notify != 0 {
		if said := e.lastLog(c.ID); said != "" {
			next.Error += ": " + said
		}
	}
	if act&lifecycle.Save != 0 && (act&lifecycle.Discard == 0 || act&lifecycle.Notify != 0) {
		again, err := e.save(ctx, c, next, act)
		if again != nil || err != nil {
			return again, err
		}
	}
	if act&lifecycle.Discard != 0 {
		kept, err := e.discard(ctx, c)
		if ballast.Full(err) {
			c.Record = next
			return c, nil // as below: in save
		}
		return kept, err
	}
	if act&lifecycle.Clear != 0 {
		if _, err := rundir.Clear(e.paths(c.ID)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// lastLog is the first line of a dead monitor's own crash, "" where something
// else killed it. The whole text is kept in the data directory.
func (e *Engine) lastLog(id string) string {
	text, err := os.ReadFile(filepath.Join(e.dirs.ContainerRun(id), rundir.LogFile))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		for _, mark := range []string{"panic: ", "fatal error: ", "runtime: "} {
			if strings.HasPrefix(line, mark) {
				_ = atomicfile.Write(filepath.Join(e.dirs.Container(id), rundir.LogFile), text, 0o600, atomicfile.Volatile)
				return strings.TrimSpace(line)
			}
		}
	}
	return ""
}

// clearDead removes what a killed monitor left outside of its directories. It
// is idempotent.
func (e *Engine) clearDead(id string) {
	e.clearCgroup(id)
	ipam.Forget(e.dirs.Net(), id)
}

// save stores a reconciled record and tells what is to be told. Where another
// command was faster it starts over and returns that outcome.
func (e *Engine) save(ctx context.Context, c *container, next lifecycle.Record, act lifecycle.Action) (*container, error) {
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	ev := state.Event{}
	if act&lifecycle.Died != 0 {
		ev = dieEvent(c.Container, next)
	}
	ok, err := db.Update(c.Container, next, ev)
	if ballast.Full(err) {
		// A command that only looks goes on with what it found. The files that it
		// found it by stay, so that a later command finds it, too.
		c.Record = next
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		row, err := db.Get(c.ID)
		if err != nil {
			return nil, err
		}
		if row == nil {
			return nil, noSuchContainer(c.ID)
		}
		return e.reconcile(ctx, row)
	}
	if act&lifecycle.Notify != 0 {
		text := "the monitor of container " + strconv.Quote(c.Name) + " was killed; the container has been ended and its ports are free"
		if _, said, ok := strings.Cut(next.Error, lifecycle.MonitorKilled+": "); ok {
			text += " (it said: " + said + ")"
		}
		e.notice(text)
	}
	return nil, nil
}

// discard ends what a --rm or a dead creator left. It returns the container
// where that stays after all, or where somebody else is at it.
func (e *Engine) discard(ctx context.Context, c *container) (*container, error) {
	lock, err := rundir.Lock(e.paths(c.ID))
	if errs.Is(err, errs.State) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	kept, err := e.discardLocked(ctx, c.ID)
	lock.Close()
	if err != nil || kept == nil {
		return nil, err
	}
	return e.reconcile(ctx, kept)
}

// discardLocked destroys a container whose lock is held. It returns the record
// as it is now where nothing asks for that any more: what was read before may
// be older than the look at the lock, and its creator have finished in between.
func (e *Engine) discardLocked(ctx context.Context, id string) (kept *state.Container, err error) {
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	row, err := db.Get(id)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, os.RemoveAll(e.dirs.ContainerRun(id))
	}
	_, o := e.look(row, true)
	if _, act := lifecycle.Reconcile(row.Record, row.AutoRemove, o); act&lifecycle.Discard == 0 {
		return row, nil
	}
	return nil, e.destroy(ctx, row, true)
}

// observe looks at a container's directories.
func (e *Engine) observe(row *state.Container) (*container, lifecycle.Observed) {
	return e.look(row, false)
}

// look is observe; ours says that it is the caller who holds the lock.
func (e *Engine) look(row *state.Container, ours bool) (*container, lifecycle.Observed) {
	c := &container{Container: row, run: e.dirs.ContainerRun(row.ID)}
	o := lifecycle.Observed{Now: time.Now().UTC()}
	var st *monitor.Status
	if _, err := os.Lstat(c.run); err == nil {
		o.RunDir = true
		// The status before the lock: a monitor that is gone between the two
		// is then taken for dead, never a dead one's status for a live one's.
		st = readStatus(c.run)
		o.Locked = !ours && rundir.Locked(c.run)
		if !o.Locked {
			_, err := os.Lstat(c.run)
			o.RunDir = err == nil
		}
	}
	if !o.Locked {
		c.host = elsewhere(row)
		o.Elsewhere = c.host != ""
		if !ours && rundir.Locked(e.dirs.Container(row.ID)) {
			// Alive, and not where this process would look.
			if run := e.reach(row); run != "" || row.State.Live() {
				c.run = run
			} // else a command that starts or removes it, and has the other lock in a moment
			st = readStatus(c.run)
			// Once more: it may have ended meanwhile.
			o.Locked = rundir.Alive(e.paths(row.ID))
		}
	}
	if o.Locked && st != nil && !row.State.Live() && !wroteIt(st) {
		// Whoever clears up after a dead monitor holds the lock, too, while
		// what that one said is still there.
		st = nil
	}
	if st != nil {
		o.Status = &lifecycle.Status{State: liveState(st.State), StartedAt: st.StartedAt, RestartCount: st.RestartCount,
			Run: st.Run}
	}
	if o.Locked {
		c.locked, c.status = true, st
		p, _ := placeOf(&row.Record)
		if st != nil && c.run == e.dirs.ContainerRun(row.ID) && (p.PID != st.MonitorPID || p.Start != st.MonitorStart) {
			o.Place = e.here(st) // its front end died before it could say so
		}
		return c, o
	}
	if p, known := placeOf(&row.Record); known {
		o.Rebooted = !p.Host.SameBoot(hostid.Self())
	}
	if c.exit = readExit(e.dirs.Container(row.ID)); c.exit != nil {
		o.Exit = observedExit(c.exit)
	} else if !ours && row.State.Live() && (rundir.Alive(e.paths(row.ID)) || e.runsWithoutLock(row)) {
		// Somebody has begun to remove it since the look at the locks, or its
		// monitor could not take the one that is left: that it left no word
		// proves nothing.
		c.locked, o.Locked, o.Status = true, true, nil
		if !o.RunDir {
			c.run = ""
		}
	}
	return c, o
}

// wroteIt reports whether the monitor that a status speaks of is there.
func wroteIt(st *monitor.Status) bool {
	return st.Monitor().Alive()
}

func observedExit(x *monitor.Exit) *lifecycle.Exit {
	return &lifecycle.Exit{Code: x.Code, OOMKilled: x.OOMKilled, StartedAt: x.StartedAt, FinishedAt: x.FinishedAt,
		Error: x.Error, RestartCount: x.RestartCount, StoppedByUser: x.StoppedByUser, Run: x.Run}
}

func liveState(s rundir.State) lifecycle.State {
	switch s {
	case rundir.StateRunning:
		return lifecycle.Running
	case rundir.StatePaused:
		return lifecycle.Paused
	case rundir.StateRestarting:
		return lifecycle.Restarting
	case rundir.StateExited:
		return lifecycle.Exited
	}
	return lifecycle.Creating
}

// readStatus reads what a monitor says; nil: there is none, or it cannot be seen
// (run is empty).
func readStatus(run string) *monitor.Status {
	st := &monitor.Status{}
	if run == "" || rundir.ReadStatus(run, st) != nil {
		return nil
	}
	return st
}

func readExit(data string) *monitor.Exit {
	x := &monitor.Exit{}
	if rundir.ReadExit(data, x) != nil {
		return nil
	}
	return x
}

func dieEvent(c *state.Container, r lifecycle.Record) state.Event {
	ev := containerEvent(c, "die")
	ev.Time = r.FinishedAt
	ev.Attributes[attrExitCode] = strconv.Itoa(r.ExitCode)
	return ev
}

// Attributes of events.
const (
	attrExitCode = "exitCode"
	attrRun      = "run" // which start of the container it was
)

// destroyEvent tells how a container ended whose files are about to go: whoever
// waits for it may look too late, and finds it here.
func (e *Engine) destroyEvent(row *state.Container) state.Event {
	ev := containerEvent(row, "destroy")
	code, run, known := row.ExitCode, row.Run, row.Run == 0 || !row.FinishedAt.IsZero() && !row.FinishedAt.Before(row.StartedAt)
	if x := readExit(e.dirs.Container(row.ID)); x != nil && lifecycle.Fresh(row.Record, observedExit(x)) {
		code, run, known = x.Code, x.Run, true
	}
	if known {
		ev.Attributes[attrExitCode], ev.Attributes[attrRun] = strconv.Itoa(code), strconv.Itoa(run)
	}
	return ev
}

func containerEvent(c *state.Container, action string) state.Event {
	return state.Event{Time: time.Now(), Type: "container", Action: action, Actor: c.ID,
		Attributes: map[string]string{"name": c.Name, "image": c.Image}}
}

// clearStrays removes runtime directories whose container has no record: a front
// end died before it could make one. A data directory that holds files had one,
// which was lost; those files stay, and Check knows of them.
func (e *Engine) clearStrays(ctx context.Context, ids []string) error {
	db, err := e.db()
	if err != nil {
		return err
	}
	for _, id := range ids {
		lock, err := rundir.Lock(e.paths(id))
		if errs.Is(err, errs.State) {
			continue // somebody is at work
		}
		if err != nil {
			return err
		}
		// Under the lock: its creator may have finished since the look.
		row, err := db.Get(id)
		if err == nil && row == nil {
			e.clearDead(id)
			if data := e.dirs.Container(id); holdsNothing(data) {
				err = e.removeTree(ctx, data)
			}
			if err == nil {
				err = os.RemoveAll(e.dirs.ContainerRun(id))
			}
		}
		lock.Close()
		if err == nil && row != nil {
			_, err = e.reconcile(ctx, row)
		}
		if err != nil && !errs.Is(err, errs.NotFound) {
			return err
		}
	}
	return nil
}

// runIDs are the names of the runtime directories.
func (e *Engine) runIDs() ([]string, error) {
	entries, err := os.ReadDir(e.dirs.ContainersRun())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errs.Wrap(err, "read", e.dirs.ContainersRun())
	}
	ids := make([]string, 0, len(entries))
	for _, d := range entries {
		if len(d.Name()) == idLength {
			ids = append(ids, d.Name())
		}
	}
	return ids, nil
}
