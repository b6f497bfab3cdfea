// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod/lifecycle"
)

func topCommand() *command {
	return &command{
		examples: []string{
			`proa top web -o pid,rss,args   columns as in ps(1)`,
		},
		name: "top", args: "CONTAINER [ps OPTIONS]", short: "Display the running processes of a container", max: -1, stopAtArg: true,
		twin: "container top", acts: lifecycle.State.Live,
		setup: func(f *flagSet) action {
			var latest bool
			latestFlag(f, &latest)
			return func(ctx context.Context, a *app, args []string) error {
				ref, rest, err := oneOf(ctx, a, latest, args)
				if err != nil {
					return err
				}
				e, err := engineOf[containerEngine](ctx, a)
				if err != nil {
					return err
				}
				titles, rows, err := e.Top(ctx, ref, rest)
				if err != nil {
					return err
				}
				return a.out.Table(titles, rows)
			}
		},
	}
}
