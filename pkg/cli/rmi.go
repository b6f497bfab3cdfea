// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

type rmiFlags struct {
	libpod.RemoveImageOptions
	all bool
}

func rmiCommand() *command {
	return &command{
		examples: []string{
			`proa rmi web:1`,
			`proa rmi $(proa images -q -f dangling=true)   those without a name`,
		},
		name: "rmi", args: "IMAGE [IMAGE...]", short: "Remove one or more images", max: -1, twin: "image rm",
		setup: func(f *flagSet) action {
			var o rmiFlags
			f.boolean(&o.all, "all", "a", "Remove all images")
			f.boolean(&o.Force, "force", "f", "Also an image that has several names, or stopped containers: they are removed with it; one that does not exist is no error")
			f.boolean(&o.Ignore, "ignore", "i", "An image that does not exist is no error")
			f.boolean(&o.NoPrune, "no-prune", "", "Do not delete untagged parents")
			f.refuse("an image is removed whole", "proa manifest remove takes one platform out of a list", "platform")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *rmiFlags) run(ctx context.Context, a *app, args []string) error {
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	switch {
	case o.all && len(args) > 0:
		return errs.WithHint(errs.New(errs.Invalid, "--all cannot be used with names of images"), "omit one of the two")
	case o.all:
		list, err := e.Images(ctx, libpod.ImageListOptions{All: true})
		if err != nil {
			return err
		}
		for i := range list {
			args = append(args, list[i].ID)
		}
	case len(args) == 0:
		c := a.call
		return c.command().usageError(c.words, "%q requires at least 1 argument", c.words)
	}
	return a.each(args, func(ref string) error {
		r, err := e.RemoveImage(ctx, ref, o.RemoveImageOptions)
		if r != nil {
			for _, c := range r.Containers {
				a.out.Notice("removed the stopped container " + spec.ShortID(c.ID) + " (" + c.Name + ") with its image " + ref)
			}
			for _, n := range r.Untagged {
				a.out.Println("Untagged: " + n)
			}
			for _, id := range r.Deleted {
				a.out.Println("Deleted: " + id)
			}
		}
		if o.Force && errs.Is(err, errs.NotFound) {
			a.out.Error(err) // as in Docker no failure
			return nil
		}
		return err
	})
}
