// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/proa-containers/proa/libpod"
)

type importFlags struct {
	libpod.ImportOptions
	platform platformFlags
	quiet    bool
}

func importCommand() *command {
	return &command{
		examples: []string{
			`tar -C rootfs -c . | proa import -c 'CMD ["/bin/sh"]' - mine:1   an image of a directory`,
		},
		name: "import", args: "file|URL|- [REPOSITORY[:TAG]]", short: "Import the contents from a tarball to create a filesystem image", min: 1, max: 2,
		twin: "image import",
		setup: func(f *flagSet) action {
			var o importFlags
			f.texts(&o.Changes, "change", "c", "Apply Dockerfile instruction to the created image")
			f.text(&o.Message, "message", "m", "Set commit message for imported image")
			o.platform.register(f)
			f.boolean(&o.quiet, "quiet", "q", "Suppress the import output")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *importFlags) run(ctx context.Context, a *app, args []string) error {
	var err error
	if o.Platform, err = o.platform.value(); err != nil {
		return err
	}
	switch src := args[0]; {
	case src == "-":
		o.Input = a.std.In
	case strings.HasPrefix(src, "http://"), strings.HasPrefix(src, "https://"):
		o.Path = src
	default:
		if o.Path, err = a.abs(src); err != nil {
			return err
		}
	}
	if len(args) > 1 {
		o.Name = args[1]
	}
	if !o.quiet {
		o.Progress = a.out.ErrWriter()
	}
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	id, err := e.Import(ctx, o.ImportOptions)
	if err == nil {
		a.out.Println("sha256:" + strings.TrimPrefix(id, "sha256:"))
	}
	return err
}
