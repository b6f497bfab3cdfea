// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
)

type commitFlags struct {
	libpod.CommitOptions
	quiet           bool
	iidfile, config string
}

func commitCommand() *command {
	return &command{
		examples: []string{
			`proa commit -c 'CMD ["nginx"]' -m 'with nginx' sample web:1   an image of what sample has become`,
		},
		name: "commit", args: "CONTAINER [REPOSITORY[:TAG]]", short: "Create a new image from a container's changes", min: 1, max: 2, twin: "container commit",
		setup: func(f *flagSet) action {
			o := commitFlags{CommitOptions: libpod.CommitOptions{Pause: true}}
			f.text(&o.Author, "author", "a", `Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")`)
			f.texts(&o.Changes, "change", "c", "Apply Dockerfile instruction to the created image")
			f.text(&o.iidfile, "iidfile", "", "Write the image ID to the file").path()
			f.text(&o.Message, "message", "m", "Commit message")
			f.boolean(&o.Pause, "pause", "p", "Pause container during commit")
			f.boolean(&o.quiet, "quiet", "q", "Print only the ID")
			f.text(&o.config, "config", "", "File with an image configuration (JSON) over that of the container").path()
			parsed(f, &o.Docker, "format", "f", "string", "Format of the image", parseImageForm).oneOf("oci", "docker").def = "oci"
			f.boolean(&o.IncludeVolumes, "include-volumes", "", "Declare bind mounts as volumes of the image, too")
			f.boolean(&o.Squash, "squash", "s", "Make one layer of all")
			return func(ctx context.Context, a *app, args []string) error {
				o.MustPause = f.changed("pause")
				return o.run(ctx, a, args)
			}
		},
	}
}

func (o *commitFlags) run(ctx context.Context, a *app, args []string) error {
	if len(args) > 1 {
		o.Name = args[1]
	}
	if err := a.absolute(&o.iidfile); err != nil {
		return err
	}
	if o.config != "" {
		text, err := a.readFile(o.config)
		if err != nil {
			return err
		}
		o.Config = text
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return err
	}
	id, err := e.Commit(ctx, args[0], o.CommitOptions)
	if err != nil {
		return err
	}
	a.out.Println("sha256:" + id)
	if o.iidfile != "" {
		return a.writeFile(o.iidfile, []byte("sha256:"+id), 0o644)
	}
	return nil
}
