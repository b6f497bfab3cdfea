// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/pkg/spec"
)

func renameCommand() *command {
	return &command{
		examples: []string{
			`proa rename web web-old`,
		},
		name: "rename", args: "CONTAINER NEW_NAME", short: "Rename a container", min: 2, max: 2, twin: "container rename",
		setup: func(*flagSet) action {
			return func(ctx context.Context, a *app, args []string) error {
				if err := spec.CheckContainerName(args[1]); err != nil {
					return err
				}
				e, err := engineOf[containerEngine](ctx, a)
				if err != nil {
					return err
				}
				return e.Rename(ctx, args[0], args[1])
			}
		},
	}
}
