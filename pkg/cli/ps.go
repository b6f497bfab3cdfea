// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

type psFlags struct {
	all, latest, noTrunc, quiet, size, noHeading bool
	last                                         int
	filters                                      []string
	format, sort                                 string
}

func psCommand() *command {
	return &command{
		examples: []string{
			`proa ps -a                                          stopped containers, too`,
			`proa ps -aq --filter status=exited                  ids only, of some`,
			`proa ps --format 'table {{.Names}}\t{{.Status}}'    columns of your own`,
		},
		name: "ps", args: "", short: "List containers", twin: "container ls",
		setup: func(f *flagSet) action {
			o := psFlags{last: -1}
			f.boolean(&o.all, "all", "a", "Show all containers (default shows just running)")
			filterFlag(f, &o.filters, "f", "Filter output based on conditions provided", libpod.ContainerFilters)
			formatFlag(f, &o.format, output.ContainerHeader())
			f.integer(&o.last, "last", "n", "Show n last created containers (includes all states)")
			f.boolean(&o.latest, "latest", "l", "Show the latest created container (includes all states)")
			f.boolean(&o.noTrunc, "no-trunc", "", "Don't truncate output")
			f.boolean(&o.quiet, "quiet", "q", "Only display container IDs")
			f.boolean(&o.size, "size", "s", "Display total file sizes")
			f.boolean(&o.noHeading, "noheading", "", "Do not print the titles of the columns")
			f.text(&o.sort, "sort", "", "Sort by what").oneOf("command", "created", "id", "image", "names", "runningfor", "status", "size")
			f.accept("every listing is what is really there", "sync!", "external!")
			f.refuse("it is not implemented", "watch -n 2 proa ps", "watch|w", "ns!", "pod|p!")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a) }
		},
	}
}

func (o *psFlags) run(ctx context.Context, a *app) error {
	filters, err := parseFilters(o.filters)
	if err != nil {
		return err
	}
	lo := libpod.ListOptions{All: o.all, Size: o.size || strings.Contains(o.format, ".Size"), Filters: filters}
	if o.last > 0 {
		lo.Last, lo.All = o.last, true
	}
	if o.latest {
		lo.Last, lo.All = 1, true
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return err
	}
	list, err := e.List(ctx, lo)
	if err != nil {
		return err
	}
	if err := sortContainers(list, o.sort); err != nil {
		return err
	}
	now := time.Now()
	rows := make([]any, len(list))
	for i := range list {
		rows[i] = output.Container(&list[i], now, o.noTrunc)
	}
	l := output.List{Header: output.ContainerHeader(), Columns: output.ContainerColumns(o.size), Format: o.format, NoHeading: o.noHeading}
	if o.quiet {
		l.Quiet = "ID"
	}
	a.rootsOwn(len(rows))
	return a.out.List(l, rows)
}

func sortContainers(list []libpod.Summary, by string) error {
	var less func(a, b libpod.Summary) int
	switch strings.ToLower(by) {
	case "":
		return nil // the newest first, as Docker's
	case "created": // the flag is podman's, and so is its order
		less = func(a, b libpod.Summary) int { return a.Created.Compare(b.Created) }
	case "runningfor":
		less = func(a, b libpod.Summary) int { return b.StartedAt.Compare(a.StartedAt) }
	case "command":
		less = func(a, b libpod.Summary) int { return slices.Compare(a.Command, b.Command) }
	case "id":
		less = func(a, b libpod.Summary) int { return cmp.Compare(a.ID, b.ID) }
	case "image":
		less = func(a, b libpod.Summary) int { return cmp.Compare(a.Image, b.Image) }
	case "names", "name":
		less = func(a, b libpod.Summary) int { return cmp.Compare(a.Name, b.Name) }
	case "status", "state":
		less = func(a, b libpod.Summary) int { return cmp.Compare(a.State, b.State) }
	case "size":
		less = func(a, b libpod.Summary) int { return cmp.Compare(a.SizeRw, b.SizeRw) }
	default:
		return errs.WithHint(errs.New(errs.Invalid, "cannot sort by %q", by), "write --sort command, created, id, image, names, runningfor, status or size")
	}
	slices.SortStableFunc(list, less)
	return nil
}
