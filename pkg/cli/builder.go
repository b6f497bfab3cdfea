// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"time"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/cli/output"
	"github.com/proa-containers/proa/pkg/errs"
)

// builderCommand is for those who type "buildx build" or "builder build".
func builderCommand() *command {
	return &command{name: "builder", aliases: []string{"buildx"}, short: "Manage builds", sub: []*command{buildCommand(), builderPruneCommand()}}
}

func builderPruneCommand() *command {
	return &command{
		name: "prune", args: "", short: "Remove build cache",
		setup: func(f *flagSet) action {
			var o cache.PruneOptions
			var pf pruneFlags
			f.boolean(&o.All, "all", "a", "Also remove what images use, and the directories of cache mounts")
			f.boolean(&pf.force, "force", "f", "Do not prompt for confirmation")
			f.texts(&pf.filters, "filter", "", `Provide filter values (e.g. "until=24h")`).typ = "filter"
			return func(ctx context.Context, a *app, args []string) error { return pf.buildCache(ctx, a, o) }
		},
	}
}

func (f *pruneFlags) buildCache(ctx context.Context, a *app, o cache.PruneOptions) (err error) {
	if o.Before, err = f.until(); err != nil {
		return err
	}
	pod, err := a.pod(ctx)
	if err != nil {
		return err
	}
	// The layers and cache mounts belong to ids of the namespace.
	if done, err := pod.EnterNamespace(ctx, os.Args[1:], false); done || err != nil {
		return err
	}
	what := "all dangling build cache"
	if o.All {
		what = "all build cache"
	}
	if !a.confirm(f.force, "This will remove "+what+".") {
		return nil
	}
	p, err := cache.Prune(ctx, pod.BuildCacheDir(), pod, o)
	if p != nil && len(p.IDs) > 0 {
		a.out.Println("Deleted build cache objects:")
		for _, id := range p.IDs {
			a.out.Println(id)
		}
		a.out.Println("")
	}
	if err != nil {
		return err
	}
	a.out.Println("Total reclaimed space: " + output.Size(p.Size))
	return nil
}

// until reads the one filter of a build cache: a time, or how long ago.
func (f *pruneFlags) until() (before time.Time, err error) {
	filters, err := parseFilters(f.filters)
	if err != nil {
		return before, err
	}
	for key, values := range filters {
		if key != "until" || len(values) != 1 {
			return before, errs.WithHint(errs.New(errs.Invalid, "invalid filter %q", key), "use until=24h or until=2006-01-02T15:04:05Z")
		}
		if d, err := time.ParseDuration(values[0]); err == nil {
			before = time.Now().Add(-d)
		} else if before, err = time.Parse(time.RFC3339, values[0]); err != nil {
			return before, errs.New(errs.Invalid, "invalid filter until=%s: it should be a duration or a time", values[0])
		}
	}
	return before, nil
}
