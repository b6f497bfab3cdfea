// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/spec"
)

type stopFlags struct {
	selection
	stop libpod.StopOptions
}

func (o *stopFlags) registerStop(f *flagSet) {
	f.alias(f.optInt(&o.stop.Timeout, "timeout", "t", "Seconds to wait before killing the container"), "time")
	parsed(f, &o.stop.Signal, "signal", "s", "string", "Signal to send to the container", checkSignal).suggests(words(spec.SignalNames()...))
}

func checkSignal(s string) (string, error) {
	_, err := spec.ParseSignal(s)
	return s, err
}

func stopCommand() *command {
	return &command{
		examples: []string{
			`proa stop web db     both at once`,
			`proa stop -t 60 db   a minute to write its data`,
		},
		name: "stop", args: "CONTAINER [CONTAINER...]", short: "Stop one or more running containers", max: -1, twin: "container stop", acts: lifecycle.State.Live,
		setup: func(f *flagSet) action {
			o := stopFlags{selection: selection{running: true}}
			o.register(f, "Stop", "a")
			o.registerStop(f)
			f.boolean(&o.ignore, "ignore", "i", "A container that does not exist is no error")
			return func(ctx context.Context, a *app, args []string) error {
				refs, err := o.refs(ctx, a, args)
				if err != nil {
					return err
				}
				e, err := engineOf[containerEngine](ctx, a)
				if err != nil {
					return err
				}
				return a.sideBySideNamed(refs, func(ref string) error {
					return o.orIgnore(e.Stop(ctx, ref, o.stop))
				})
			}
		},
	}
}
