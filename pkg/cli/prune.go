// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/cli/output"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// pruneFlags are the flags of all prune commands.
type pruneFlags struct {
	all, force bool
	filters    []string
	partial    bool // another command adds up what is freed
}

// What can be pruned by filters.
var (
	containerPruneFilters = spec.SomeOptions(libpod.ContainerFilters, "label", "label!", "until")
	volumePruneFilters    = append([]spec.Option{{Name: "all", Arg: "true", About: "As --all"}},
		spec.SomeOptions(libpod.VolumeFilters, "label", "label!", "until")...)
	cachePruneFilters = []spec.Option{{Name: "until", Arg: "TIME",
		About: "It was last used before TIME: a date, seconds since 1970, or an age such as 24h"}}
)

func (o *pruneFlags) registerFilters(f *flagSet, known []spec.Option) {
	filterFlag(f, &o.filters, "", "Remove those that match", known)
}

// read parses the filters of a command that knows these. A filter of the listing
// beside it ("ps --filter status=...") is refused: taken for nothing it would
// remove too much.
func (o *pruneFlags) read(known []spec.Option) (map[string][]string, error) {
	filters, err := parseFilters(o.filters)
	if err != nil {
		return nil, err
	}
	for key := range filters {
		if !spec.HasOption(known, key) {
			return nil, spec.UnknownFilter(key, known)
		}
	}
	if until := filters["until"]; len(until) > 1 {
		return nil, errs.WithHint(errs.New(errs.Invalid, "more than one until filter specified"),
			"keep --filter until=%s", until[0])
	}
	_, err = until(filters)
	return filters, err
}

// until is the time of the filter of this name, zero without one.
func until(filters map[string][]string) (time.Time, error) {
	if len(filters["until"]) == 0 {
		return time.Time{}, nil
	}
	v := filters["until"][0]
	t, err := spec.ParseWhen(time.Now(), v)
	if err != nil {
		err = errs.WithHint(errs.New(errs.Invalid, "invalid filter 'until=%s'", v), "%s", errs.HintOf(err))
	}
	return t, err
}

func containerPruneCommand() *command {
	return &command{
		examples: []string{
			`proa container prune --filter until=24h   those made more than a day ago`,
		},
		name: "prune", args: "", short: "Remove all stopped containers",
		setup: func(f *flagSet) action {
			var o pruneFlags
			f.boolean(&o.force, "force", "f", "Do not prompt for confirmation")
			o.registerFilters(f, containerPruneFilters)
			return func(ctx context.Context, a *app, args []string) error { return o.containers(ctx, a) }
		},
	}
}

func (o *pruneFlags) containers(ctx context.Context, a *app) error {
	filters, err := o.read(containerPruneFilters)
	if err != nil {
		return err
	}
	if yes, err := a.confirm(ctx, o.force, "This will remove all stopped containers."); !yes {
		return err
	}
	freed, err := pruneStopped(ctx, a, filters)
	if told(err) {
		a.out.Println("Total reclaimed space: " + output.Size(freed))
	}
	return err
}

// told reports whether err is nil or was printed for each object already.
func told(err error) bool {
	var exit *errs.ExitError
	return err == nil || errors.As(err, &exit)
}

// pruneStopped removes containers that do not run, with Docker's heading.
func pruneStopped(ctx context.Context, a *app, filters map[string][]string) (freed int64, err error) {
	e, err := a.engine(ctx)
	if err != nil {
		return 0, err
	}
	list, err := e.List(ctx, libpod.ListOptions{All: true, Size: true, Filters: filters})
	if err != nil {
		return 0, err
	}
	var ids []string
	sizes := map[string]int64{}
	for i := range list {
		if c := &list[i]; c.State == lifecycle.Exited || c.State == lifecycle.Created || c.State == lifecycle.Dead {
			ids = append(ids, c.ID)
			sizes[c.ID] = c.SizeRw
		}
	}
	// Somebody may have started one since the list was made.
	return a.prune("Deleted Containers:", ids, sizes, func(id string) error {
		return e.Remove(ctx, id, libpod.RemoveOptions{Ignore: true})
	})
}

// prune removes objects and prints their names below a heading. One that came
// into use meanwhile stays.
func (a *app) prune(heading string, names []string, sizes map[string]int64, remove func(name string) error,
) (freed int64, err error) {
	said := false
	err = a.each(names, func(name string) error {
		err := remove(name)
		if errs.Is(err, errs.State) || errs.Is(err, errs.InUse) {
			return nil
		}
		if err != nil {
			return err
		}
		if !said {
			a.out.Println(heading)
			said = true
		}
		freed += sizes[name]
		a.out.Println(name)
		return nil
	})
	if said {
		a.out.Println("")
	}
	return freed, err
}

func volumePruneCommand() *command {
	return &command{
		name: "prune", args: "", short: "Remove unused local volumes",
		setup: func(f *flagSet) action {
			var o pruneFlags
			f.boolean(&o.all, "all", "a", "Remove all unused volumes, not just anonymous ones")
			f.boolean(&o.force, "force", "f", "Do not prompt for confirmation")
			o.registerFilters(f, volumePruneFilters)
			return func(ctx context.Context, a *app, args []string) error { return o.volumes(ctx, a) }
		},
	}
}

func (o *pruneFlags) volumes(ctx context.Context, a *app) error {
	filters, err := o.read(volumePruneFilters)
	if err != nil {
		return err
	}
	// Docker's other way to write --all.
	if err := takeFlag(filters, "all", func(v bool) { o.all = o.all || v }); err != nil {
		return err
	}
	what := "anonymous local volumes"
	if o.all {
		what = "all local volumes"
	}
	if yes, err := a.confirm(ctx, o.force, "This will remove "+what+" not used by at least one container."); !yes {
		return err
	}
	freed, err := pruneVolumes(ctx, a, o.all, filters)
	if told(err) {
		a.out.Println("Total reclaimed space: " + output.Size(freed))
	}
	return err
}

// takeFlag moves a filter that is a switch out of filters; the last value counts.
func takeFlag(filters map[string][]string, key string, set func(bool)) error {
	values := filters[key]
	if len(values) == 0 {
		return nil
	}
	delete(filters, key)
	switch v := values[len(values)-1]; v {
	case "true", "1":
		set(true)
	case "false", "0":
		set(false)
	default:
		return errs.WithHint(errs.New(errs.Invalid, "invalid filter '%s=%s'", key, v),
			"write --filter %s=true, or false", key)
	}
	return nil
}

// pruneVolumes removes volumes that no container uses: the anonymous ones, or all.
func pruneVolumes(ctx context.Context, a *app, all bool, filters map[string][]string) (freed int64, err error) {
	e, err := a.engine(ctx)
	if err != nil {
		return 0, err
	}
	list, err := e.Volumes(ctx, filters)
	if err != nil {
		return 0, err
	}
	list = slices.DeleteFunc(list, func(v libpod.Volume) bool { return len(v.Containers) > 0 || !v.Anonymous && !all })
	sizes, err := e.VolumeSizes(ctx, list)
	if err != nil {
		return 0, err
	}
	var names []string
	for _, v := range list {
		names = append(names, v.Name)
	}
	return a.prune("Deleted Volumes:", names, sizes, func(name string) error { return e.VolumeRemove(ctx, name, false) })
}
