// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

type loadFlags struct {
	input    string
	platform string
	quiet    bool
}

func loadCommand() *command {
	return &command{
		examples: []string{
			`proa load -i web.tar                  the file that "proa save -o web.tar" made`,
			`ssh other proa save web | proa load   from another machine`,
		},
		name: "load", args: "", short: "Load an image from a tar archive or STDIN", twin: "image load",
		setup: func(f *flagSet) action {
			var o loadFlags
			f.text(&o.input, "input", "i", "Read from tar archive file or OCI directory, instead of STDIN").suggests(files)
			f.boolean(&o.quiet, "quiet", "q", "Suppress the load output")
			parsed(f, &o.platform, "platform", "", "string", "Load the images for this platform; of several without it that for this machine", spec.ParsePlatform)
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a) }
		},
	}
}

func (o *loadFlags) run(ctx context.Context, a *app) error {
	lo := libpod.LoadOptions{Quiet: o.quiet, Platform: o.platform}
	switch {
	case o.input != "" && o.input != "-":
		var err error
		if lo.Path, err = a.abs(o.input); err != nil {
			return err
		}
	case output.IsTerminal(a.std.In):
		return errs.WithHint(errs.New(errs.Invalid, "requested load from stdin, but stdin is empty"), "proa load -i FILE")
	default:
		lo.Input = a.std.In
	}
	if !o.quiet {
		lo.Progress = a.out.ErrWriter()
	}
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	images, err := e.Load(ctx, lo)
	for _, i := range images {
		for _, n := range i.Names {
			a.out.Println("Loaded image: " + n)
		}
		if len(i.Names) == 0 {
			a.out.Println("Loaded image ID: sha256:" + strings.TrimPrefix(i.ID, "sha256:"))
		}
	}
	return err
}
