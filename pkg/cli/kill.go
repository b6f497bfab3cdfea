// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/spec"
)

type killFlags struct {
	selection
	signal string
}

func killCommand() *command {
	return &command{
		examples: []string{
			`proa kill web          at once`,
			`proa kill -s HUP web   to read its configuration again`,
		},
		name: "kill", args: "CONTAINER [CONTAINER...]", short: "Kill one or more running containers", max: -1, twin: "container kill", acts: lifecycle.State.Live,
		setup: func(f *flagSet) action {
			o := killFlags{selection: selection{running: true}, signal: "KILL"}
			o.register(f, "Kill", "a")
			parsed(f, &o.signal, "signal", "s", "string", "Signal to send to the container", checkSignal).suggests(words(spec.SignalNames()...)).def = "KILL"
			return func(ctx context.Context, a *app, args []string) error {
				refs, err := o.refs(ctx, a, args)
				if err != nil {
					return err
				}
				e, err := engineOf[containerEngine](ctx, a)
				if err != nil {
					return err
				}
				return a.sideBySideNamed(refs, func(ref string) error { return e.Kill(ctx, ref, o.signal) })
			}
		},
	}
}
