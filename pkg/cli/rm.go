// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

type rmFlags struct {
	selection
	remove libpod.RemoveOptions
}

func rmCommand() *command {
	return &command{
		examples: []string{
			`proa rm -f web             stop and remove one`,
			`proa rm -f $(proa ps -aq)  remove them all`,
		},
		name: "rm", aliases: []string{"remove"}, args: "CONTAINER [CONTAINER...]", short: "Remove one or more containers", max: -1, twin: "container rm",
		setup: func(f *flagSet) action {
			var o rmFlags
			o.register(f, "Remove", "a")
			f.boolean(&o.remove.Force, "force", "f", "Force the removal of a running container (uses SIGKILL)")
			f.boolean(&o.remove.Volumes, "volumes", "v", "Remove anonymous volumes associated with the container")
			f.boolean(&o.ignore, "ignore", "i", "A container that does not exist is no error")
			f.alias(f.optInt(&o.remove.Timeout, "timeout", "t", "With --force, seconds to wait between the stop signal and SIGKILL"), "time")
			f.refuse("links are replaced by names on the networks", "omit it", "link!", "depend!")
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
					err := o.orIgnore(e.Remove(ctx, ref, o.remove))
					if o.remove.Force && errs.Is(err, errs.NotFound) {
						// As in Docker this is told but no failure: "rm -f $(ps -aq)" races
						// with containers that remove themselves.
						return &nothingDone{told: err}
					}
					return err
				})
			}
		},
	}
}
