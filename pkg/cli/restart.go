// SPDX-License-Identifier: Apache-2.0

package cli

import "context"

type restartFlags struct {
	stopFlags
	onlyRunning bool
}

func restartCommand() *command {
	return &command{
		examples: []string{
			`proa restart web`,
		},
		name: "restart", args: "CONTAINER [CONTAINER...]", short: "Restart one or more containers", max: -1, twin: "container restart",
		setup: func(f *flagSet) action {
			var o restartFlags
			o.register(f, "Restart", "a")
			o.registerStop(f)
			f.boolean(&o.onlyRunning, "running", "", "Restart all running containers")
			return func(ctx context.Context, a *app, args []string) error {
				if o.onlyRunning {
					o.all, o.running = true, true
				}
				refs, err := o.refs(ctx, a, args)
				if err != nil {
					return err
				}
				e, err := engineOf[containerEngine](ctx, a)
				if err != nil {
					return err
				}
				return a.sideBySideNamed(refs, func(ref string) error { return e.Restart(ctx, ref, o.stop) })
			}
		},
	}
}
