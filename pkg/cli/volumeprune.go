// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/spec"
)

// volumePruneFilters are the filters that volumes can be pruned by.
var volumePruneFilters = append([]spec.Option{{Name: "all", Arg: "true", About: "As --all"}},
	spec.SomeOptions(libpod.VolumeFilters, "label", "label!", "until")...)

func volumePruneCommand() *command {
	return &command{
		name: "prune", args: "", short: "Remove unused local volumes",
		setup: func(f *flagSet) action {
			var o pruneFlags
			f.boolean(&o.all, "all", "a", "Remove all unused volumes, not just anonymous ones")
			f.boolean(&o.force, "force", "f", "Do not prompt for confirmation")
			o.registerFilters(f, volumePruneFilters)
			return func(ctx context.Context, a *app, args []string) error { return pruneUnusedVolumes(ctx, a, &o) }
		},
	}
}

func pruneUnusedVolumes(ctx context.Context, a *app, o *pruneFlags) error {
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

// pruneVolumes removes volumes that no container uses: the anonymous ones, or all.
func pruneVolumes(ctx context.Context, a *app, all bool, filters map[string][]string) (freed int64, err error) {
	e, err := engineOf[volumeEngine](ctx, a)
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
	return pruneEach(a, "Deleted Volumes:", names, sizes, func(name string) error { return e.VolumeRemove(ctx, name, false) })
}
