// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/cli/output"
	"github.com/proa-containers/proa/pkg/errs"
)

func containerPruneCommand() *command {
	return &command{
		name: "prune", args: "", short: "Remove all stopped containers",
		setup: func(f *flagSet) action {
			var o pruneFlags
			f.boolean(&o.force, "force", "f", "Do not prompt for confirmation")
			f.texts(&o.filters, "filter", "", "Provide filter values (e.g. \"label=<label>\")").typ = "filter"
			return func(ctx context.Context, a *app, args []string) error { return o.containers(ctx, a) }
		},
	}
}

func (o *pruneFlags) containers(ctx context.Context, a *app) error {
	filters, err := parseFilters(o.filters)
	if err != nil {
		return err
	}
	if !a.confirm(o.force, "This will remove all stopped containers.") {
		return nil
	}
	e, err := a.engine(ctx)
	if err != nil {
		return err
	}
	list, err := e.List(ctx, libpod.ListOptions{All: true, Size: true, Filters: filters})
	if err != nil {
		return err
	}
	var ids []string
	sizes := map[string]int64{}
	for i := range list {
		if c := &list[i]; c.State == lifecycle.Exited || c.State == lifecycle.Created || c.State == lifecycle.Dead {
			ids = append(ids, c.ID)
			sizes[c.ID] = c.SizeRw
		}
	}
	if len(ids) > 0 {
		a.out.Println("Deleted Containers:")
	}
	var freed int64
	err = a.each(ids, func(id string) error {
		err := e.Remove(ctx, id, libpod.RemoveOptions{Ignore: true})
		if errs.Is(err, errs.State) || errs.Is(err, errs.InUse) {
			return nil // somebody started it since the list was made
		}
		if err == nil {
			freed += sizes[id]
			a.out.Println(id)
		}
		return err
	})
	a.out.Println("\nTotal reclaimed space: " + output.Size(freed))
	return err
}
