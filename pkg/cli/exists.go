// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// exister says by its status whether an object exists: 0, 1, or 125 where
// that cannot be told.
func exister[E any](args, short string, find func(ctx context.Context, e E, ref string) (any, error)) *command {
	return &command{
		name: "exists", args: args, short: short, min: 1, max: 1,
		exits: []spec.Option{{Name: "0", About: "It exists."}, {Name: "1", About: "It does not."},
			{Name: "125", About: "Proa cannot find out."}},
		setup: func(*flagSet) action {
			return withEngine(func(ctx context.Context, a *app, e E, args []string) error {
				_, err := find(ctx, e, args[0])
				if errs.Is(err, errs.NotFound) {
					return &errs.ExitError{Code: 1}
				}
				return err
			})
		},
	}
}

func lookupContainer(ctx context.Context, e inspectEngine, ref string) (any, error) {
	return e.Inspect(ctx, ref)
}
