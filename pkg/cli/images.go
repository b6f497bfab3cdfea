// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/cli/output"
)

type imagesFlags struct {
	all, digests, noTrunc, quiet, noHeading bool
	filters                                 []string
	format                                  string
}

func imagesCommand() *command {
	return &command{
		name: "images", args: "[REPOSITORY[:TAG]]", short: "List images", max: 1, twin: "image ls",
		setup: func(f *flagSet) action {
			var o imagesFlags
			f.boolean(&o.all, "all", "a", "Show all images (default hides intermediate images)")
			f.boolean(&o.digests, "digests", "", "Show digests")
			f.texts(&o.filters, "filter", "f", "Filter output based on conditions provided").typ = "filter"
			f.text(&o.format, "format", "", `Format output using a custom template: "table", "table TEMPLATE", "json" or a Go template`)
			f.boolean(&o.noTrunc, "no-trunc", "", "Don't truncate output")
			f.boolean(&o.quiet, "quiet", "q", "Only show image IDs")
			f.alias(f.boolean(&o.noHeading, "noheading", "", "Do not print the titles of the columns"), "no-heading")
			f.refuse("it is not implemented", "leave it away", "tree!", "history!", "sort")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *imagesFlags) run(ctx context.Context, a *app, args []string) error {
	filters, err := parseFilters(o.filters)
	if err != nil {
		return err
	}
	lo := libpod.ImageListOptions{All: o.all, Filters: filters}
	if len(args) > 0 {
		lo.Ref = args[0]
	}
	e, err := a.engine(ctx)
	if err != nil {
		return err
	}
	list, err := e.Images(ctx, lo)
	if err != nil {
		return err
	}
	now := time.Now()
	var rows []any
	for i := range list {
		r := output.Image(&list[i], now, o.noTrunc)
		if o.quiet {
			// One image is one line: the ids often become the arguments of rmi.
			r = r[:1]
		}
		rows = append(rows, r...)
	}
	l := output.List{Header: output.ImageHeader(), Columns: output.ImageColumns(o.digests), Format: o.format, NoHeading: o.noHeading}
	if o.quiet {
		l.Quiet = "ID"
	}
	return a.out.List(l, rows)
}
