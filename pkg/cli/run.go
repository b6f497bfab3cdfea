// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

type runFlags struct {
	createFlags
	detach   bool
	sigProxy bool
	keys     detachFlag
}

// networkRights is what the help of run and create says about capabilities.
const networkRights = "With --network slirp4netns or pasta, or container:NAME of a container with such a network,\n" +
	"NET_RAW is not among the default capabilities: raw frames would reach services on the\n" +
	"host's 127.0.0.1. --cap-add NET_RAW or NET_ADMIN, --privileged and exec --privileged allow that."

func runCommand() *command {
	return &command{
		examples: []string{
			`proa run --rm hello                              check that everything works`,
			`proa run -it --rm debian bash                    a shell in a Debian system`,
			`proa run -d --name web -p 8080:80 nginx:alpine   a web server in the background`,
			`proa run --rm -v ./src:/src -w /src golang go build   a tool on the files of this directory`,
			`proa run -d --restart unless-stopped -v data:/var/lib/postgresql/data postgres   a service with a volume`,
		},
		name: "run", args: "IMAGE [COMMAND] [ARG...]", short: "Create and run a new container from an image",
		long: "The command's exit status is the process's own; 125 when Proa itself failed, 126 when the\n" +
			"command cannot be invoked, 127 when it is not found.\n\n" + networkRights,
		min: 1, max: -1, stopAtArg: true, runsProcess: true, twin: "container run",
		setup: func(f *flagSet) action {
			o := runFlags{sigProxy: true}
			f.boolean(&o.detach, "detach", "d", "Run container in background and print container ID")
			o.keys.register(f)
			f.boolean(&o.sigProxy, "sig-proxy", "", "Proxy received signals to the process")
			o.register(f)
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *runFlags) run(ctx context.Context, a *app, args []string) error {
	c, err := o.container(ctx, a, args)
	if err != nil {
		return err
	}
	if o.detach && len(c.Process.Attach) > 0 {
		return errs.WithHint(errs.New(errs.Invalid, "Conflicting options: -a and -d"), "omit one of the two")
	}
	opts := libpod.RunOptions{Detach: o.detach, Progress: o.progress(a)}
	if opts.Registry, err = o.registry.options(a); err != nil {
		return err
	}
	if !o.detach {
		if opts.Streams, err = o.streams(a, c); err != nil {
			return err
		}
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return err
	}
	if err := o.removeOld(ctx, e, c); err != nil {
		return err
	}
	id, err := e.Run(ctx, c, opts)
	err = optionsFirst(a, err, "image", args[0], args[1:])
	if err == nil && (o.detach || noOutput(c)) {
		a.out.Println(id)
	}
	return err
}

// optionsFirst says where options belong when the user wrote one of Proa's in the place
// of the command: "proa run alpine -it sh".
func optionsFirst(a *app, err error, what, name string, argv []string) error {
	if !errs.Is(err, errs.CommandMissing) || len(argv) == 0 || !a.call.flags.knows(argv[0]) {
		return err
	}
	line := append([]string{a.call.words, argv[0], name}, argv[1:]...)
	return errs.WithHint(err, "options go before the %s: %s", what, strings.Join(line, " "))
}

// noOutput says that only standard input is attached: Docker prints the id.
func noOutput(c *spec.Container) bool {
	return len(c.Process.Attach) > 0 && !slices.Contains(c.Process.Attach, "stdout") && !slices.Contains(c.Process.Attach, "stderr")
}

// streams connects what -a, -i and -t ask for.
func (o *runFlags) streams(a *app, c *spec.Container) (libpod.Streams, error) {
	p := &c.Process
	if len(p.Attach) == 0 {
		p.Attach = []string{"stdout", "stderr"}
		if p.OpenStdin {
			p.Attach = []string{"stdin", "stdout", "stderr"}
		}
	}
	s := libpod.Streams{DetachKeys: o.keys.value(a), SigProxy: o.sigProxy && !p.TTY}
	if slices.Contains(p.Attach, "stdin") {
		s.In = a.std.In
		p.OpenStdin, p.StdinOnce = true, true
	}
	if slices.Contains(p.Attach, "stdout") {
		s.Out = a.out.OutWriter()
	}
	if slices.Contains(p.Attach, "stderr") {
		s.Err = a.out.ErrWriter()
	}
	return s, terminal(a, &s, p.TTY)
}

// terminal decides whether the client's terminal becomes the container's.
func terminal(a *app, s *libpod.Streams, tty bool) error {
	isTerm := output.IsTerminal(a.std.In)
	if tty && s.In != nil && !isTerm {
		err := errs.WithHint(errs.New(errs.Invalid, "the input device is not a TTY"), "omit -t where the input is a pipe or a file")
		return &statusError{err, 1} // as Docker's
	}
	s.TTY = tty && isTerm
	if output.IsTerminal(a.std.Err) {
		s.OnDetach = func() { a.out.Hint("") } // the prompt of the shell begins a line
	}
	return nil
}

func createCommand() *command {
	return &command{
		examples: []string{
			`proa create --name web -p 8080:80 nginx   to be started later`,
			`proa start web`,
		},
		name: "create", args: "IMAGE [COMMAND] [ARG...]", short: "Create a new container",
		long: networkRights,
		min:  1, max: -1, stopAtArg: true, runsProcess: true, twin: "container create",
		setup: func(f *flagSet) action {
			var o createFlags
			o.register(f)
			return func(ctx context.Context, a *app, args []string) error {
				c, err := o.container(ctx, a, args)
				if err != nil {
					return err
				}
				if c.Process.OpenStdin && len(c.Process.Attach) == 0 {
					c.Process.StdinOnce = true
				}
				remote, err := o.registry.options(a)
				if err != nil {
					return err
				}
				e, err := engineOf[containerEngine](ctx, a)
				if err != nil {
					return err
				}
				if err := o.removeOld(ctx, e, c); err != nil {
					return err
				}
				id, err := e.Create(ctx, c, libpod.CreateOptions{Progress: o.progress(a), Registry: remote})
				if err == nil {
					a.out.Println(id)
				}
				return err
			}
		},
	}
}
