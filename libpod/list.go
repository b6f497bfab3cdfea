// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/ocispec"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/pkg/treesize"
	"github.com/proa-containers/proa/rootless/cgroup"
)

// ListOptions select containers.
type ListOptions struct {
	All  bool // not only the running ones
	Last int  // the newest n in any state; 0: no limit
	Size bool // fill in SizeRw and SizeRoot: walks the writable layers
	// Filters are Docker's: id, name, label, status, ancestor, exited, volume,
	// network, publish, expose, before, since, health, is-task. Values of one
	// key are alternatives (label: all must hold), keys must all hold.
	Filters map[string][]string
}

// Summary is one container as `ps` shows it.
type Summary struct {
	ID         string
	Name       string
	Image      string // as the user wrote it
	ImageID    string
	Command    []string
	Created    time.Time
	State      lifecycle.State
	Health     string // starting, healthy, unhealthy; empty: no check
	StartedAt  time.Time
	FinishedAt time.Time
	ExitCode   int
	PID        int // in the host's pid namespace; 0: not running
	Ports      []spec.Port
	Exposed    []string // "80/tcp", "8000-8005/udp": exposed and not published
	Labels     map[string]string
	Mounts     []string // volume names and host paths
	Networks   []string
	AutoRemove bool
	Host       string // the other host that it runs on; empty: this one, or none
	SizeRw     int64  // bytes, with Size
	SizeRoot   int64  // bytes, with Size
}

// List returns containers, the newest first.
func (e *Engine) List(ctx context.Context, o ListOptions) ([]Summary, error) {
	f, err := newFilter(o.Filters)
	if err != nil {
		return nil, err
	}
	if err := e.resolveAncestors(f); err != nil {
		return nil, err
	}
	all := o.All || o.Last > 0 || f.anyState()
	list, err := e.containers(ctx, all)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b *container) int { return b.Created.Compare(a.Created) })
	if err := f.resolveTimes(ctx, e); err != nil {
		return nil, err
	}
	out := make([]Summary, 0, len(list))
	for _, c := range list {
		if !all && !c.State.Live() {
			continue
		}
		s := summary(c)
		if !f.match(c, &s) {
			continue
		}
		if ok, err := e.matchVolumes(f, c); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		if o.Size {
			e.sizes(&s)
		}
		out = append(out, s)
		if o.Last > 0 && len(out) == o.Last {
			break
		}
	}
	return out, nil
}

// containers returns the reconciled containers; without all, those that may be
// running. Those that have settled are not looked at any closer.
func (e *Engine) containers(ctx context.Context, all bool) ([]*container, error) {
	// The directories before the rows: a record made in between is found in
	// the rows, and one whose directory is older has a row already.
	ids, err := e.runIDs()
	if err != nil {
		return nil, err
	}
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	var rows []*state.Container
	if all {
		rows, err = db.List()
	} else {
		rows, err = db.ListActive(ids)
	}
	if err != nil {
		return nil, err
	}
	present := make(map[string]bool, len(ids))
	for _, id := range ids {
		present[id] = true
	}
	list := make([]*container, 0, len(rows))
	for _, row := range rows {
		here := present[row.ID]
		delete(present, row.ID)
		if settled(row) && !here {
			list = append(list, &container{Container: row})
			continue
		}
		c, err := e.reconcile(ctx, row)
		if err != nil && !errs.Is(err, errs.NotFound) {
			// One that cannot be cleared away does not hide the others.
			e.notice(err.Error())
			c = &container{Container: row}
		}
		if c != nil {
			list = append(list, c)
		}
	}
	stray := make([]string, 0, len(present))
	for id := range present {
		stray = append(stray, id)
	}
	if err := e.clearStrays(ctx, stray); err != nil {
		e.notice(err.Error())
	}
	return list, nil
}

// settled reports that a record can only change together with its runtime
// directory.
func settled(row *state.Container) bool {
	switch row.State {
	case lifecycle.Created, lifecycle.Dead:
		return true
	case lifecycle.Exited:
		return !row.AutoRemove
	}
	return false
}

func summary(c *container) Summary {
	s := Summary{ID: c.ID, Name: c.Name, Image: c.Image, ImageID: c.ImageID, Command: c.Command, Created: c.Created, State: c.State,
		StartedAt: c.StartedAt, FinishedAt: c.FinishedAt, ExitCode: c.ExitCode, Labels: c.Labels, Mounts: c.Mounts, Networks: c.Networks,
		AutoRemove: c.AutoRemove, Host: c.host}
	if c.State == lifecycle.Creating || c.Starting() {
		s.State = lifecycle.Created
	}
	if c.status != nil && c.running() {
		s.PID = c.status.PID
		s.Ports = c.status.Attachment.Ports
		if c.status.Health != nil {
			s.Health = c.status.Health.Status
		}
		s.Exposed = c.Exposed
		if len(s.Ports) > 0 && len(s.Exposed) > 0 {
			s.Exposed = portTexts(unpublished(parsePorts(c.Exposed), s.Ports))
		}
	}
	return s
}

// sizes walks the writable layer; what cannot be read is left out.
func (e *Engine) sizes(s *Summary) {
	s.SizeRw = treesize.Of(filepath.Join(e.dirs.Container(s.ID), "upper"))
	s.SizeRoot = s.SizeRw
	if img, err := e.images.Resolve(s.ImageID); err == nil {
		s.SizeRoot += img.Size
	}
}

// Exists reports whether ref names a container.
func (e *Engine) Exists(ctx context.Context, ref string) (bool, error) {
	_, err := e.load(ctx, ref)
	if errs.Is(err, errs.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// Inspect returns everything known about one container.
func (e *Engine) Inspect(ctx context.Context, ref string) (*Details, error) {
	c, err := e.load(ctx, ref)
	if err != nil {
		return nil, err
	}
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	b, err := db.Body(c.ID)
	if err != nil {
		return nil, err
	}
	d := &Details{ID: c.ID, Name: c.Name, Created: c.Created, State: summary(c).State, Spec: b.Spec, Image: b.Image, ImageName: c.Image,
		Command: c.Command, RestartCount: c.RestartCount, Rootfs: b.Rootfs}
	d.Spec.Name = c.Name
	d.Masked, d.Readonly = ocispec.HiddenPaths(&b.Spec.Security, nil)
	_, d.LogPath = e.logging(c.ID, &b.Spec)
	if c.running() {
		d.Status = c.status
	}
	if !c.FinishedAt.IsZero() || c.Error != "" {
		d.Exit = &monitor.Exit{Code: c.ExitCode, OOMKilled: c.OOMKilled, StartedAt: c.StartedAt, FinishedAt: c.FinishedAt, Error: c.Error,
			RestartCount: c.RestartCount, StoppedByUser: c.StoppedByUser}
	}
	for _, m := range b.Spec.Mounts {
		d.Mounts = append(d.Mounts, e.mountPoint(m))
	}
	return d, nil
}

func (e *Engine) mountPoint(m spec.Mount) MountPoint {
	p := MountPoint{Type: m.Type, Source: m.Source, Destination: m.Target, RW: !m.ReadOnly, Propagation: m.Propagation}
	switch m.Type {
	case spec.MountVolume:
		p.Name, p.Source, p.Driver = m.Source, e.volumeData(m.Source), "local"
		p.Mode = m.Relabel
	case spec.MountBind:
		if p.Propagation == "" {
			p.Propagation = "rprivate"
		}
	case spec.MountTmpfs:
		p.Source = ""
	}
	return p
}

// checkSpec builds a container's configuration and throws it away: what this
// host cannot do is refused at its creation.
func (e *Engine) checkSpec(ctx context.Context, d *draft) error {
	return e.tryBuild(ctx, d.row.ID, &d.body.Spec, d.body.Image)
}

func (e *Engine) tryBuild(ctx context.Context, id string, c *spec.Container, img spec.ImageConfig) error {
	ns, err := e.namespace(ctx)
	if err != nil {
		return err
	}
	defer ns.Close()
	host, err := e.hostFacts(ns, id, c)
	if err != nil {
		return err
	}
	cgroupFacts(&host, cgroup.Find(), "")
	mounts, _, err := e.hostMounts(c)
	if err != nil {
		return err
	}
	// Other containers' namespaces are looked for at the start.
	join := ocispec.Join{PID: "/proc/self/ns/pid", IPC: "/proc/self/ns/ipc", UTS: "/proc/self/ns/uts", Shm: "/dev/shm"}
	_, err = ocispec.Build(&ocispec.Input{ID: id, Spec: *c, Image: img, Host: host, Mounts: mounts, Join: join, AutoStart: 1})
	return err
}
