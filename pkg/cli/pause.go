// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod/lifecycle"
)

func pauseCommand() *command {
	return freezer("pause", "Pause", containerEngine.Pause, "Pause all processes within one or more containers", isRunning)
}

func unpauseCommand() *command {
	return freezer("unpause", "Unpause", containerEngine.Unpause, "Unpause all processes within one or more containers", isPaused)
}

// freezer is pause and unpause, which differ in one call.
func freezer(name, verb string, do func(containerEngine, context.Context, string) error, short string,
	acts func(lifecycle.State) bool) *command {
	return &command{
		name: name, args: "CONTAINER [CONTAINER...]", short: short, max: -1, twin: "container " + name, acts: acts,
		setup: func(f *flagSet) action {
			o := selection{running: true}
			o.register(f, verb, "a")
			return func(ctx context.Context, a *app, args []string) error {
				refs, err := o.refs(ctx, a, args)
				if err != nil {
					return err
				}
				e, err := engineOf[containerEngine](ctx, a)
				if err != nil {
					return err
				}
				return a.sideBySideNamed(refs, func(ref string) error { return do(e, ctx, ref) })
			}
		},
	}
}
