// SPDX-License-Identifier: Apache-2.0

package cli

import "context"

func unshareCommand() *command {
	return &command{
		examples: []string{
			`proa unshare rm -rf ./data   files that containers own`,
		},
		name: "unshare", args: "[COMMAND [ARG...]]", short: "Run a command in the user namespace of your containers", max: -1, stopAtArg: true, runsProcess: true,
		long: "Without a command, your shell is run. Files that containers own through subordinate ids can be\nread, changed and removed there.",
		setup: func(f *flagSet) action {
			f.refuse("there is no network namespace that outlives its containers", "use --network container:NAME", "rootless-netns!")
			return withEngine(func(ctx context.Context, a *app, e systemEngine, args []string) error {
				return e.Unshare(ctx, args)
			})
		},
	}
}
