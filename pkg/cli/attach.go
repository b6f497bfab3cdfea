// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/errs"
)

type attachFlags struct {
	noStdin, sigProxy, latest bool
	detach                    detachFlag
}

func attachCommand() *command {
	return &command{
		examples: []string{
			`proa attach shell   Ctrl-P Ctrl-Q leaves it running`,
		},
		name: "attach", args: "CONTAINER", short: "Attach local standard input, output, and error streams to a running container",
		max: 1, runsProcess: true, twin: "container attach", acts: isRunning,
		setup: func(f *flagSet) action {
			o := attachFlags{sigProxy: true}
			o.detach.register(f)
			f.boolean(&o.noStdin, "no-stdin", "", "Do not attach STDIN")
			f.boolean(&o.sigProxy, "sig-proxy", "", "Proxy all received signals to the process")
			latestFlag(f, &o.latest)
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *attachFlags) run(ctx context.Context, a *app, args []string) error {
	ref, _, err := oneOf(ctx, a, o.latest, args)
	if err != nil {
		return err
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return err
	}
	d, err := e.Inspect(ctx, ref)
	if err != nil {
		return err
	}
	switch {
	case d.State == lifecycle.Paused:
		return errs.WithHint(errs.New(errs.State, "You cannot attach to a paused container, unpause it first"), "proa unpause %s", ref)
	case d.State != lifecycle.Running && d.State != lifecycle.Restarting:
		return errs.WithHint(errs.New(errs.State, "You cannot attach to a stopped container, start it first"), "proa start -a %s", ref)
	}
	tty := d.Spec.Process.TTY
	s := libpod.Streams{Out: a.out.OutWriter(), Err: a.out.ErrWriter(), DetachKeys: o.detach.value(a), SigProxy: o.sigProxy && !tty, NoStdin: o.noStdin}
	if !o.noStdin && d.Spec.Process.OpenStdin {
		s.In = a.std.In
	}
	if err := terminal(a, &s, tty); err != nil {
		return err
	}
	return e.Attach(ctx, ref, s)
}
