// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
)

type historyFlags struct {
	format                string
	human, noTrunc, quiet bool
	noHeading             bool
}

func historyCommand() *command {
	return &command{
		examples: []string{
			`proa history --no-trunc web   the whole instructions`,
		},
		name: "history", args: "IMAGE", short: "Show the history of an image", min: 1, max: 1, twin: "image history",
		setup: func(f *flagSet) action {
			o := historyFlags{human: true}
			formatFlag(f, &o.format, output.HistoryHeader())
			f.boolean(&o.human, "human", "H", "Print sizes and dates in human readable format")
			f.boolean(&o.noTrunc, "no-trunc", "", "Don't truncate output")
			f.boolean(&o.quiet, "quiet", "q", "Only show image IDs")
			f.alias(f.boolean(&o.noHeading, "noheading", "", "Do not print the titles of the columns"), "no-heading")
			f.refuse("an image in the store is for one platform", "omit it", "platform")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args[0]) }
		},
	}
}

func (o *historyFlags) run(ctx context.Context, a *app, ref string) error {
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	list, err := e.ImageHistory(ctx, ref)
	if err != nil {
		return err
	}
	now := time.Now()
	rows := make([]any, len(list))
	for i := range list {
		rows[i] = output.History(&list[i], now, o.noTrunc, o.human)
	}
	l := output.List{Header: output.HistoryHeader(), Columns: output.HistoryColumns(), Format: o.format, NoHeading: o.noHeading}
	if o.quiet {
		l.Quiet = "ID"
	}
	return a.out.List(l, rows)
}
