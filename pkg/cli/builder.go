// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/builder"
	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/machine"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// builderCommand is for those who type "buildx build" or "builder build".
func builderCommand() *command {
	return &command{name: "builder", aliases: []string{"buildx"}, short: "Manage builds", sub: []*command{
		buildCommand(), builderInspectCommand(), builderListCommand(), builderPruneCommand(), builderUseCommand(), builderVersionCommand(),
	}}
}

// theBuilder is the name of the only builder; nothing of it runs between
// builds.
const theBuilder = "default"

func checkBuilder(args []string) error {
	if len(args) == 0 || args[0] == theBuilder {
		return nil
	}
	return errs.WithHint(errs.New(errs.NotFound, "no builder %q found", args[0]), "there is one builder, %q: each build runs by itself", theBuilder)
}

func builderListCommand() *command {
	return &command{
		name: "ls", args: "", short: "List the one builder",
		setup: func(f *flagSet) action {
			f.accept("nothing is shortened", "no-trunc!")
			f.refuse("there is one builder, and its line never changes", "proa builder inspect", "format")
			return func(_ context.Context, a *app, _ []string) error {
				return a.out.Table([]string{"NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS"}, [][]string{
					{theBuilder + "*", "proa", "", "", ""},
					{" \\_ " + theBuilder, " \\_ built in", "ready", new(libpod.Engine).Version().Version, strings.Join(machine.Platforms(), ", ")},
				})
			}
		},
	}
}

func builderInspectCommand() *command {
	return &command{
		name: "inspect", free: true, args: "[NAME]", short: "Show the one builder and the platforms that it builds for", max: 1,
		setup: func(f *flagSet) action {
			f.accept("there is nothing to start", "bootstrap!")
			return func(_ context.Context, a *app, args []string) error {
				if err := checkBuilder(args); err != nil {
					return err
				}
				a.out.Print("Name:   " + theBuilder + "\nDriver: proa\n\nNodes:\nName:      " + theBuilder + "\nEndpoint:  built in\nStatus:    ready\n" +
					"Platforms: " + strings.Join(machine.Platforms(), ", ") + "\n")
				return nil
			}
		},
	}
}

func builderUseCommand() *command {
	return &command{
		name: "use", free: true, args: "NAME", short: "Choose the builder: there is one", min: 1, max: 1,
		setup: func(f *flagSet) action {
			f.accept("it is in use anyway", "default!", "global!")
			return func(_ context.Context, _ *app, args []string) error { return checkBuilder(args) }
		},
	}
}

func builderVersionCommand() *command {
	return &command{
		name: "version", args: "", short: "Show the version of the builder",
		setup: func(*flagSet) action {
			return func(_ context.Context, a *app, _ []string) error {
				v := new(libpod.Engine).Version()
				a.out.Println("github.com/proa-containers/proa " + v.Version + " " + v.Commit)
				return nil
			}
		},
	}
}

// cachePruneFilters are the filters that the build cache can be pruned by.
var cachePruneFilters = []spec.Option{{Name: "until", Arg: "TIME",
	About: "It was last used before TIME: a date, seconds since 1970, or an age such as 24h"}}

func builderPruneCommand() *command {
	return &command{
		name: "prune", args: "", short: "Remove build cache",
		setup: func(f *flagSet) action {
			var o cache.PruneOptions
			var pf pruneFlags
			f.boolean(&o.All, "all", "a", "Also remove what images use, and the directories of cache mounts")
			f.boolean(&pf.force, "force", "f", "Do not prompt for confirmation")
			pf.registerFilters(f, cachePruneFilters)
			f.boolean(&pf.partial, noTotal, "", "Part of another command, which prints the total").hidden = true
			return func(ctx context.Context, a *app, args []string) error { return pruneCache(ctx, a, &pf, o) }
		},
	}
}

func pruneCache(ctx context.Context, a *app, f *pruneFlags, o cache.PruneOptions) (err error) {
	filters, err := f.read(cachePruneFilters)
	if err != nil {
		return err
	}
	if o.Before, err = until(filters); err != nil {
		return err
	}
	pod, err := pod(ctx, a)
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
	if yes, err := a.confirm(ctx, f.force, "This will remove "+what+"."); !yes {
		return err
	}
	if err := cache.Clean(ctx, pod.BuildSecretDir()); err != nil {
		return err
	}
	p, err := cache.Prune(ctx, pod.BuildCacheDir(), builder.Layers{Engine: pod}, o)
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
	if !f.partial {
		a.out.Println("Total reclaimed space: " + output.Size(p.Size))
	}
	return nil
}

// pruneBuildCache is `builder prune` where there is something to remove, and
// returns the bytes given back. Filters other than a time do not select build
// cache, which then stays.
func pruneBuildCache(ctx context.Context, a *app, all bool, filters []string) (freed int64, err error) {
	e, err := pod(ctx, a)
	if err != nil {
		return 0, err
	}
	before, err := e.DiskUsage(ctx)
	nothing := err == nil && before.BuildCache.Total == 0 && !cache.Abandoned(e.BuildSecretDir()) &&
		!cache.Abandoned(filepath.Join(e.BuildCacheDir(), "tmp"))
	other := func(f string) bool { return !strings.HasPrefix(f, "until=") }
	if err != nil || nothing || slices.ContainsFunc(filters, other) {
		return 0, err
	}
	if err := runBuilderPrune(ctx, a, all, filters); err != nil {
		return 0, err
	}
	after, err := e.DiskUsage(ctx)
	if err != nil {
		return 0, err
	}
	return max(before.BuildCache.Size-after.BuildCache.Size, 0), nil
}

// noTotal makes `builder prune` leave the total to the command that called it.
const noTotal = "no-total"

func runBuilderPrune(ctx context.Context, a *app, all bool, filters []string) error {
	argv := []string{"builder", "prune", "--force", "--" + noTotal}
	if all {
		argv = append(argv, "--all")
	}
	for _, f := range filters {
		argv = append(argv, "--filter", f)
	}
	pod, err := pod(ctx, a)
	if err != nil {
		return err
	}
	_ = a.out.Flush()
	if done, err := pod.EnterNamespace(ctx, argv, false); done || err != nil {
		return err
	}
	f := pruneFlags{force: true, filters: filters, partial: true}
	return pruneCache(ctx, a, &f, cache.PruneOptions{All: all})
}
