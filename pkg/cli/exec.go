// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/spec"
)

type execFlags struct {
	libpod.ExecOptions
	env, envFiles []string
	interactive   bool
	detach        detachFlag
	latest        bool
}

func execCommand() *command {
	return &command{
		examples: []string{
			`proa exec web ps                   one command`,
			`proa exec -it web sh               a shell`,
			`proa exec -u root -e A=1 web env   as another user, with a variable`,
		},
		name: "exec", args: "CONTAINER COMMAND [ARG...]", short: "Execute a command in a running container",
		max: -1, stopAtArg: true, runsProcess: true, twin: "container exec", acts: isRunning,
		setup: func(f *flagSet) action {
			var o execFlags
			f.boolean(&o.Detach, "detach", "d", "Detached mode: run command in the background")
			o.detach.register(f)
			f.texts(&o.env, "env", "e", "Set environment variables").suggests(environment)
			f.texts(&o.envFiles, "env-file", "", "Read in a file of environment variables").suggests(files)
			f.boolean(&o.interactive, "interactive", "i", "Keep STDIN open even if not attached")
			f.boolean(&o.Privileged, "privileged", "", "Give extended privileges to the command")
			f.boolean(&o.TTY, "tty", "t", "Allocate a pseudo-TTY")
			parsed(f, &o.User, "user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])", spec.ParseUser)
			f.text(&o.Dir, "workdir", "w", "Working directory inside the container")
			latestFlag(f, &o.latest)
			f.refuse("it is not implemented", "omit it", "cidfile", "preserve-fd", "preserve-fds", "no-session!")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *execFlags) run(ctx context.Context, a *app, args []string) error {
	ref, argv, err := oneOf(ctx, a, o.latest, args)
	if err != nil {
		return err
	}
	if len(argv) == 0 {
		c := a.call
		return c.command().usageError(c.words, "%q requires at least 2 arguments", c.words)
	}
	o.Args = argv
	p := processFlags{env: o.env, envFiles: o.envFiles}
	if o.Env, err = p.environment(a); err != nil {
		return err
	}
	if !o.Detach {
		s := libpod.Streams{Out: a.out.OutWriter(), Err: a.out.ErrWriter(), DetachKeys: o.detach.value(a), SigProxy: !o.TTY}
		if o.interactive {
			s.In = a.std.In
		}
		if err := terminal(a, &s, o.TTY); err != nil {
			return err
		}
		o.Streams = s
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return err
	}
	return optionsFirst(a, e.Exec(ctx, ref, o.ExecOptions), "container", ref, argv)
}
