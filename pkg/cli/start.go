// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

type startFlags struct {
	selection
	attach, interactive, sigProxy bool
	detach                        detachFlag
}

func startCommand() *command {
	return &command{
		examples: []string{
			`proa start web         in the background`,
			`proa start -ai shell   with its input and output here`,
		},
		name: "start", args: "CONTAINER [CONTAINER...]", short: "Start one or more stopped containers", max: -1, twin: "container start", acts: isDown,
		exits: append(exitStatuses(&command{}), spec.Option{Name: "Others", About: "With --attach: those of the process."}),
		setup: func(f *flagSet) action {
			o := startFlags{selection: selection{idle: true}, sigProxy: true}
			o.register(f, "Start", "")
			f.boolean(&o.attach, "attach", "a", "Attach STDOUT/STDERR and forward signals")
			f.boolean(&o.interactive, "interactive", "i", "Attach container's STDIN")
			o.detach.register(f)
			f.boolean(&o.sigProxy, "sig-proxy", "", "Proxy received signals to the process")
			f.refuse("checkpoints are not implemented", "start the container afresh", "checkpoint", "checkpoint-dir")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *startFlags) run(ctx context.Context, a *app, args []string) error {
	refs, err := o.refs(ctx, a, args)
	if err != nil {
		return err
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return err
	}
	if !o.attach && !o.interactive {
		return a.eachNamed(refs, func(ref string) error { return e.Start(ctx, ref, libpod.StartOptions{}) })
	}
	if len(refs) != 1 {
		return errs.WithHint(errs.New(errs.Invalid, "you cannot start and attach multiple containers at once"), "start them without -a, and attach to one")
	}
	d, err := e.Inspect(ctx, refs[0])
	if err != nil {
		return err
	}
	tty := d.Spec.Process.TTY
	s := libpod.Streams{Out: a.out.OutWriter(), Err: a.out.ErrWriter(), SigProxy: o.sigProxy && !tty, DetachKeys: o.detach.value(a), NoStdin: !o.interactive}
	if o.interactive && d.Spec.Process.OpenStdin {
		s.In = a.std.In
	}
	if err := terminal(a, &s, tty); err != nil {
		return err
	}
	a.call.runsContainer = true
	return e.Start(ctx, refs[0], libpod.StartOptions{Attach: true, Streams: s})
}
