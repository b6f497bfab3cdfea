// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/hostid"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
)

// place is where a container is started or removed. A data directory may be
// shared by several hosts, and by jobs of one host with a /tmp each: only the
// host of the place can see whether somebody is still at work there.
type place struct {
	Host  hostid.Host `json:"host"`
	Run   string      `json:"run"`             // dirs.Run
	PID   int         `json:"pid,omitempty"`   // of the monitor; 0: there is none yet
	Start uint64      `json:"start,omitempty"` // its start time
}

// here is the place of a monitor of this process; the zero Status: of none yet.
func (e *Engine) here(st *monitor.Status) string {
	text, err := json.Marshal(place{Host: hostid.Self(), Run: e.dirs.Run, PID: st.MonitorPID, Start: st.MonitorStart})
	if err != nil {
		return ""
	}
	return string(text)
}

// placeOf reads a record's place. A record of an older proa has none.
func placeOf(r *lifecycle.Record) (p place, known bool) {
	known = r.Place != "" && json.Unmarshal([]byte(r.Place), &p) == nil
	return p, known
}

// paths are the directories of a container.
func (e *Engine) paths(id string) rundir.Paths {
	return rundir.Paths{Run: e.dirs.ContainerRun(id), Data: e.dirs.Container(id)}
}

// elsewhere returns the name of the other host where a record is under way, ""
// where there is none.
func elsewhere(row *state.Container) string {
	if !row.State.UnderWay() && !(row.AutoRemove && row.State == lifecycle.Exited) {
		return "" // at rest: it belongs to whoever takes its lock
	}
	p, known := placeOf(&row.Record)
	switch {
	case !known || p.Host.Same(hostid.Self()):
		return ""
	case p.Host.Name == "":
		return "a host without a name"
	}
	return p.Host.Name
}

// away is the error for what only a container's own host can do, nil where
// this is the one.
func (c *container) away() error {
	if c.host == "" {
		return nil
	}
	does := "runs"
	switch c.State {
	case lifecycle.Creating:
		does = "is being created"
	case lifecycle.Removing, lifecycle.Exited:
		does = "is being removed"
	}
	return errs.WithHint(errs.New(errs.State, "container %q %s on %s", c.Name, does, c.host),
		"run the command on %s; if that host is gone for good, \"proa system check --forget-host %s\" gives its containers up",
		c.host, c.host)
}

// unseen is the error for a live container of this host whose monitor cannot
// be reached from here.
func (c *container) unseen(run string) error {
	p, _ := placeOf(&c.Record)
	why, hint := "its runtime directory "+p.Run+" cannot be seen from here", "use the shell or the job that started it"
	switch {
	case p.PID == 0:
		return errs.WithHint(errs.New(errs.State,
			"container %q is not running yet: another command is just starting it", c.Name), "try it again")
	case p.Run == run:
		why = fmt.Sprintf("its runtime directory was removed, and process %d does not make it again", p.PID)
		hint = fmt.Sprintf("look with \"ps %d\" whether it is stopped, or belongs to another pid namespace", p.PID)
	}
	return errs.WithHint(errs.New(errs.Unavailable, "cannot reach the monitor of container %q: %s", c.Name, why), "%s", hint)
}

// runsWithoutLock reports that the monitor of a record is there although it holds
// no lock in the data directory: one of an older proa, or on a file system without
// locks. Its runtime directory, where the other lock was, is gone.
func (e *Engine) runsWithoutLock(row *state.Container) bool {
	p, known := placeOf(&row.Record)
	if !known || p.PID == 0 || !p.Host.SameBoot(hostid.Self()) || rundir.Lockable(e.dirs.Container(row.ID)) {
		return false
	}
	return rundir.Process{PID: p.PID, Start: p.Start}.Alive()
}

// reach finds the runtime directory of a live monitor that does not hold the
// lock where this process would look: another /tmp or XDG_RUNTIME_DIR, or one
// that was removed. The monitor still sees its own, and makes it again when
// asked. "" where nobody can be found.
func (e *Engine) reach(row *state.Container) string {
	p, known := placeOf(&row.Record)
	if !known || p.PID == 0 || !p.Host.SameBoot(hostid.Self()) {
		return ""
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	if !(rundir.Process{PID: p.PID, Start: p.Start}).Alive() {
		return ""
	}
	own := e.paths(row.ID)
	places := []string{filepath.Join("/proc", strconv.Itoa(p.PID), "root", p.Run, "c", row.ID)}
	if p.Run == e.dirs.Run {
		places = append([]string{own.Run}, places...)
	}
	const patience = 500 * time.Millisecond
	begin := time.Now()
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		for _, dir := range places {
			if rundir.Locked(dir) {
				return dir
			}
		}
		if !rundir.Locked(own.Data) || time.Since(begin) > patience {
			return ""
		}
		if wait == time.Millisecond {
			_ = unix.PidfdSendSignal(fd, rundir.SignalRestore, nil, 0)
		}
		time.Sleep(wait) // the monitor makes its directory again, maybe with all those above it: nothing to watch
	}
}

// ForgetHost gives up what a host that will not come back had under way:
// containers that ran there count as ended, those that it was making or
// removing are removed. It returns their names. A container whose lock is held
// is refused: something lives there.
func (e *Engine) ForgetHost(ctx context.Context, host string) (names []string, err error) {
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	rows, err := db.List()
	if err != nil {
		return nil, err
	}
	found := false
	for _, row := range rows {
		if host == "" || elsewhere(row) != host {
			continue
		}
		found = true
		if ferr := e.forget(ctx, row); ferr != nil {
			err = errors.Join(err, ferr)
			continue
		}
		names = append(names, row.Name)
	}
	if !found {
		return nil, errs.New(errs.NotFound, "no container runs on another host named %q", host)
	}
	return names, err
}

func (e *Engine) forget(ctx context.Context, row *state.Container) error {
	hold, err := rundir.Lock(e.paths(row.ID))
	if errs.Is(err, errs.State) {
		return errs.New(errs.State, "container %q is alive: somebody holds its lock", row.Name)
	}
	if err != nil {
		return err
	}
	defer hold.Close()
	gaveUp := row.State.Live()
	err = e.rewrite(row, nil, state.Event{}, func(r *lifecycle.Record) {
		r.Place = e.here(&monitor.Status{})
		if gaveUp {
			r.State, r.ExitCode, r.FinishedAt = lifecycle.Exited, 255, time.Now().UTC()
			r.Error = "its host was given up while it was running"
		}
	})
	if err != nil {
		return err
	}
	if gaveUp && !row.AutoRemove {
		return os.RemoveAll(e.dirs.ContainerRun(row.ID))
	}
	return e.destroy(ctx, row, true)
}
