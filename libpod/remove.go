// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/ballast"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/failpoint"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
)

// RemoveOptions say what may be destroyed with a container.
type RemoveOptions struct {
	Force   bool // kill it where it runs
	Volumes bool // remove its anonymous volumes too
	Timeout *int // with Force: seconds between the stop signal and SIGKILL; nil: 0
	// Ignore makes a container that does not exist no error.
	Ignore bool
}

// Remove deletes a container. After an error the container is still listed
// and Remove may be called again.
func (e *Engine) Remove(ctx context.Context, ref string, o RemoveOptions) error {
	c, err := e.load(ctx, ref)
	if errs.Is(err, errs.NotFound) && (o.Ignore || o.Force) {
		if o.Ignore {
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	for t := (turn{}); ; {
		if err := c.away(); err != nil {
			return err
		}
		if c.locked {
			if err := e.endForRemoval(ctx, c, o); err != nil {
				return err
			}
		}
		lock, err := rundir.Lock(e.paths(c.ID))
		if errs.Is(err, errs.State) {
			// Another command is at work on it, or its monitor is about to go.
			if err := t.wait(ctx); err != nil {
				return err
			}
			if c, err = e.load(ctx, c.ID); errs.Is(err, errs.NotFound) {
				return nil // that one has removed it
			} else if err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		again, err := e.removeLocked(ctx, c, o)
		lock.Close()
		if err != nil || again == nil {
			return err
		}
		c = again // somebody started it in between
	}
}

// endForRemoval kills a container that is about to be removed by force.
func (e *Engine) endForRemoval(ctx context.Context, c *container, o RemoveOptions) error {
	if !o.Force {
		switch c.State {
		case lifecycle.Created, lifecycle.Exited, lifecycle.Dead:
			return nil // a command that looks, or is about to start it: the lock decides
		}
		return refuseRemoval(c)
	}
	now := 0
	if o.Timeout == nil {
		o.Timeout = &now
	}
	m, err := e.dial(c)
	if errs.Is(err, errs.State) {
		return nil // it has ended by itself, or is only being made: the lock decides
	}
	if err != nil {
		return err
	}
	_, err = m.StopToRemove(ctx, o.Timeout)
	if errs.Is(err, errs.State) {
		return nil
	}
	return err
}

// refuseRemoval says, in the words that Docker's users match in scripts, what
// has to happen first.
func refuseRemoval(c *container) error {
	hint := fmt.Sprintf("proa stop %s, or proa rm -f %s", c.Name, c.Name)
	switch c.State {
	case lifecycle.Removing:
		return errs.New(errs.InUse, "removal of container %s is already in progress", c.Name)
	case lifecycle.Paused:
		return errs.WithHint(errs.New(errs.State, "You cannot remove a paused container %s. Unpause and then stop the container before attempting removal or force remove", c.ID),
			"proa unpause %s, or proa rm -f %s", c.Name, c.Name)
	case lifecycle.Restarting:
		return errs.WithHint(errs.New(errs.State, "You cannot remove a restarting container %s. Stop the container before attempting removal or force remove", c.ID), "%s", hint)
	}
	return errs.WithHint(errs.New(errs.State, "You cannot remove a running container %s. Stop the container before attempting removal or force remove", c.ID), "%s", hint)
}

// removeLocked removes a container while its lock is held. It returns the
// container as it is now where that must not be removed after all.
func (e *Engine) removeLocked(ctx context.Context, c *container, o RemoveOptions) (*container, error) {
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	row, err := db.Get(c.ID)
	if err != nil {
		return nil, err
	}
	if row == nil {
		// A --rm, or another rm, was faster.
		return nil, os.RemoveAll(e.dirs.ContainerRun(c.ID))
	}
	if now, _ := e.look(row, true); now.host != "" {
		return now, nil // another host was faster, where locks do not reach it
	}
	if err := failpoint.Hit(FailpointRemoveLocked); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(e.dirs.ContainerRun(c.ID), rundir.StatusFile)); err == nil {
		e.clearDead(c.ID) // its monitor was killed after this command had seen it alive
	}
	return nil, e.destroy(ctx, row, o.Volumes || row.AutoRemove)
}

// destroy removes everything of a container and its record. The caller holds
// the locks; the runtime directory goes last: while it stands, what is left can
// be found.
func (e *Engine) destroy(ctx context.Context, row *state.Container, volumes bool) error {
	if row.State != lifecycle.Removing {
		err := e.rewrite(row, nil, state.Event{}, func(r *lifecycle.Record) {
			r.State, r.Place = lifecycle.Removing, e.here(&monitor.Status{})
		})
		if errs.Is(err, errs.NotFound) {
			return os.RemoveAll(e.dirs.ContainerRun(row.ID))
		}
		// On a full disk the files go first, which makes room for the rest. A kill
		// in between leaves a record without files, which is removed like any.
		if err != nil && !ballast.Full(err) {
			return err
		}
	}
	if err := failpoint.Hit(FailpointRemoveMarked); err != nil {
		return err
	}
	if err := e.obliterate(ctx, row, volumes); err != nil {
		_ = e.rewrite(row, nil, state.Event{}, func(r *lifecycle.Record) { r.State, r.Error = lifecycle.Dead, err.Error() })
		return &errs.Error{Op: "remove container", Kind: errs.KindOf(err), Object: row.Name, Err: err, Hint: errs.HintOf(err)}
	}
	return os.RemoveAll(e.dirs.ContainerRun(row.ID))
}

// obliterate removes the data directory, the anonymous volumes where asked for,
// and the record. It may be called again after a crash at any point.
func (e *Engine) obliterate(ctx context.Context, row *state.Container, volumes bool) error {
	db, err := e.db()
	if err != nil {
		return err
	}
	gone := e.destroyEvent(row)
	if err := e.removeTree(ctx, e.dirs.Container(row.ID)); err != nil {
		return err
	}
	if err := failpoint.Hit(FailpointRemoveData); err != nil {
		return err
	}
	var drop, shared []string
	if volumes {
		if drop, shared, err = e.dropVolumes(ctx, db, row.ID); err != nil {
			return err
		}
	}
	_, err = db.Delete(row.ID, drop, gone)
	if err != nil {
		return err
	}
	if err := failpoint.Hit(FailpointRemoveDeleted); err != nil {
		return err
	}
	for _, name := range shared {
		// The others may have been removed at the same time, each for the other's
		// sake without the volume. It is free now, or somebody still uses it.
		err := e.VolumeRemove(ctx, name, true)
		if err != nil && !errs.Is(err, errs.InUse) && !errs.Is(err, errs.State) {
			return err
		}
	}
	return nil
}

// dropVolumes removes the directories of the anonymous volumes that only this
// container uses, and returns their names, and the names of those that others
// use as well.
func (e *Engine) dropVolumes(ctx context.Context, db *state.DB, id string) (names, shared []string, err error) {
	list, err := db.ContainerVolumes(id)
	if err != nil {
		return nil, nil, err
	}
	for _, v := range list {
		switch {
		case !v.Anonymous:
			continue
		case len(v.Users) > 1:
			shared = append(shared, v.Name)
			continue
		}
		if err := e.removeTree(ctx, filepath.Join(e.dirs.Volumes(), v.Name)); err != nil {
			return nil, nil, err
		}
		names = append(names, v.Name)
	}
	return names, shared, nil
}
