// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
)

// A database that was set aside, or lost its tail with the power, leaves
// directories of volumes and containers without a record: no command would show
// or remove them. They hold the user's data, so nothing of them is deleted unasked.
// A volume gets a record again. Of a container the writable layer and the log are
// left, which do not make a container: they become a volume of the name
// lost-ID, to be looked at and removed.

// lostPrefix begins the names of volumes that were containers.
const lostPrefix = "lost-"

// lost is one directory without a record.
type lost struct {
	name    string // of the volume, or id of the container
	path    string
	monitor *monitor.Status // it runs; nil: it does not
}

// findLost returns the volumes and the containers that have no record.
func (e *Engine) findLost() (volumes, containers []lost, err error) {
	// The directories, and whether there are files in them, before the records:
	// records are made before the files, and go after them.
	vdirs, err := subdirs(e.dirs.Volumes())
	if err != nil {
		return nil, nil, err
	}
	cdirs, err := subdirs(e.dirs.Container(""))
	if err != nil {
		return nil, nil, err
	}
	cdirs = slices.DeleteFunc(cdirs, func(id string) bool {
		return len(id) != idLength || holdsNothing(e.dirs.Container(id))
	})
	db, err := e.db()
	if err != nil {
		return nil, nil, err
	}
	vols, err := db.Volumes()
	if err != nil {
		return nil, nil, err
	}
	rows, err := db.List()
	if err != nil {
		return nil, nil, err
	}
	known := map[string]bool{}
	for _, v := range vols {
		known[v.Name] = true
	}
	for _, r := range rows {
		known[r.ID] = true
	}
	for _, name := range vdirs {
		p := filepath.Join(e.dirs.Volumes(), name)
		if _, err := os.Lstat(p); err == nil && !known[name] && validName.MatchString(name) {
			volumes = append(volumes, lost{name: name, path: p})
		}
	}
	for _, id := range cdirs {
		p := e.dirs.Container(id)
		if _, err := os.Lstat(p); err != nil || known[id] {
			continue
		}
		l := lost{name: id, path: p}
		if rundir.Alive(e.paths(id)) {
			if l.monitor = readStatus(e.dirs.ContainerRun(id)); l.monitor == nil {
				l.monitor = &monitor.Status{}
			}
		}
		containers = append(containers, l)
	}
	return volumes, containers, nil
}

// holdsNothing reports that a container's data directory has no more in it than
// its lock: it was made, and its record never was.
func holdsNothing(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && (len(entries) == 0 || len(entries) == 1 && entries[0].Name() == rundir.LockFile)
}

// subdirs are the names of the directories in dir, which need not exist.
func subdirs(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errs.Wrap(err, "read", dir)
	}
	for _, d := range entries {
		if d.IsDir() {
			names = append(names, d.Name())
		}
	}
	return names, nil
}

// checkLost reports what has no record, and with repair gives it one.
func (e *Engine) checkLost(ctx context.Context, repair bool) (list []CheckFinding, err error) {
	if repair {
		e.removeUnmade()
	}
	volumes, containers, err := e.findLost()
	if err != nil || len(volumes)+len(containers) == 0 {
		return nil, err
	}
	trees := make([]Volume, 0, len(volumes)+len(containers))
	for _, l := range append(volumes[:len(volumes):len(volumes)], containers...) {
		trees = append(trees, Volume{Name: l.path, Mountpoint: l.path})
	}
	sizes, err := e.VolumeSizes(ctx, trees)
	if err != nil {
		return nil, err
	}
	for _, l := range volumes {
		f := CheckFinding{Volume: l.name, Size: sizes[l.path], Problem: "it has no record"}
		if repair {
			if err := e.adopt(l.name); err != nil {
				return list, err
			}
			f.Repaired, f.Done = true, "it has one again"
		}
		list = append(list, f)
	}
	for _, l := range containers {
		f := CheckFinding{Container: l.name, Size: sizes[l.path], Problem: "it has no record"}
		switch {
		case l.monitor != nil:
			f.Problem = "it runs and has no record"
			if l.monitor.MonitorPID != 0 {
				f.Problem += fmt.Sprintf(": \"kill %d\" ends it", l.monitor.MonitorPID)
			}
		case repair:
			name, err := e.keepFiles(l)
			if err != nil {
				return list, err
			}
			f.Repaired, f.Done = true, "its files are in the volume "+name
		}
		list = append(list, f)
	}
	return list, nil
}

// removeUnmade removes the data directories of containers that were begun and
// never recorded: a loss of power can leave one without the runtime directory by
// which it would be found.
func (e *Engine) removeUnmade() {
	ids, _ := subdirs(e.dirs.Container(""))
	for _, id := range ids {
		p := e.paths(id)
		if len(id) != idLength || !holdsNothing(p.Data) {
			continue
		}
		hold, err := rundir.Lock(p)
		if err != nil {
			continue // it is being made
		}
		if db, err := e.db(); err == nil {
			if row, err := db.Get(id); row == nil && err == nil && holdsNothing(p.Data) {
				_ = os.RemoveAll(p.Data)
			}
		}
		_ = os.RemoveAll(p.Run)
		_ = hold.Close()
	}
}

// adopt gives the directory of a volume a record. Its name may be that of an
// anonymous one; whether something still uses it, only the lost records knew, so
// that no prune takes it.
func (e *Engine) adopt(name string) error {
	fi, err := os.Stat(filepath.Join(e.dirs.Volumes(), name))
	if err != nil {
		return errs.Wrap(err, "look at volume", name)
	}
	db, err := e.db()
	if err != nil {
		return err
	}
	if _, err := db.AddVolume(&state.Volume{Name: name, Driver: "local", Created: fi.ModTime().UTC()}); err != nil {
		return err
	}
	return e.makeVolumeDir(name)
}

// keepFiles makes a volume of what a container left, and returns its name.
func (e *Engine) keepFiles(l lost) (name string, err error) {
	lock, err := rundir.Lock(e.paths(l.name))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	name = lostPrefix + l.name[:12]
	to := filepath.Join(e.dirs.Volumes(), name)
	if err := os.MkdirAll(to, 0o700); err != nil {
		return "", errs.Wrap(err, "create volume", name)
	}
	// Killed from here on, it is a volume without a record.
	if err := os.Rename(l.path, e.volumeData(name)); err != nil {
		return "", errs.Wrap(err, "move the files of container", l.name)
	}
	_ = os.Remove(filepath.Join(e.volumeData(name), rundir.LockFile))
	if err := e.adopt(name); err != nil {
		return "", err
	}
	e.clearDead(l.name)
	return name, os.RemoveAll(e.dirs.ContainerRun(l.name))
}

// tellLost says that a database which was made just now does not know what is
// there.
func (e *Engine) tellLost() {
	volumes, containers, err := e.findLost()
	if err != nil || len(volumes)+len(containers) == 0 {
		return
	}
	var parts []string
	for _, p := range []struct {
		list []lost
		what string
	}{{volumes, "volume"}, {containers, "container"}} {
		switch n := len(p.list); n {
		case 0:
		case 1:
			parts = append(parts, "1 "+p.what)
		default:
			parts = append(parts, fmt.Sprintf("%d %ss", n, p.what))
		}
	}
	e.notice("the database " + e.dirs.DB() + " is new and does not know " + strings.Join(parts, " and ") +
		": see them with \"proa system check\"")
}
