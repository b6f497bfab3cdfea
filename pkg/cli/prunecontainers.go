// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/spec"
)

// containerPruneFilters are the filters that containers can be pruned by.
var containerPruneFilters = spec.SomeOptions(libpod.ContainerFilters, "label", "label!", "until")

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
			return func(ctx context.Context, a *app, args []string) error { return pruneContainers(ctx, a, &o) }
		},
	}
}

func pruneContainers(ctx context.Context, a *app, o *pruneFlags) error {
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

// pruneStopped removes containers that do not run, with Docker's heading.
func pruneStopped(ctx context.Context, a *app, filters map[string][]string) (freed int64, err error) {
	e, err := engineOf[containerEngine](ctx, a)
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
	return pruneEach(a, "Deleted Containers:", ids, sizes, func(id string) error {
		return e.Remove(ctx, id, libpod.RemoveOptions{Ignore: true})
	})
}
