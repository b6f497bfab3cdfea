// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"

	"github.com/proa-containers/proa/pkg/atomicfile"
)

func exportCommand() *command {
	return &command{
		examples: []string{
			`proa export sample | tar -t          the files of a container`,
			`proa export -o root.tar sample`,
		},
		name: "export", args: "CONTAINER", short: "Export a container's filesystem as a tar archive", min: 1, max: 1, twin: "container export",
		setup: func(f *flagSet) action {
			var file string
			f.text(&file, "output", "o", "Write to a file, instead of STDOUT").path()
			return func(ctx context.Context, a *app, args []string) error { return export(ctx, a, args[0], file) }
		},
	}
}

func export(ctx context.Context, a *app, ref, file string) error {
	path, w, err := a.archiveOutput(file)
	if err != nil {
		return err
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return err
	}
	if path == "" {
		return e.Export(ctx, ref, w)
	}
	if _, err := e.Inspect(ctx, ref); err != nil {
		return err // before a file is made
	}
	return atomicfile.Output(path, 0o600, func(w io.Writer) error { return e.Export(ctx, ref, w) })
}
