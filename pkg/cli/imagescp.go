// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
)

// imageScpCommand says how it is done: Proa keeps no list of other machines.
func imageScpCommand() *command {
	return &command{
		name: "scp", args: "IMAGE [HOST::]", short: "Not supported: \"proa save\" and \"proa load\" copy an image over ssh", min: 1, max: 2, hidden: true,
		setup: func(f *flagSet) action {
			f.boolean(new(bool), "quiet", "q", "Accepted: nothing is copied").hidden = true
			return func(_ context.Context, _ *app, args []string) error {
				why := errs.New(errs.Unsupported, "there are no connections to other machines")
				from, image, remote := strings.Cut(args[0], "::")
				if remote {
					return errs.WithHint(why, "ssh %s proa save %s | proa load", from, image)
				}
				host := "HOST"
				if len(args) > 1 {
					host, _, _ = strings.Cut(args[1], "::")
				}
				return errs.WithHint(why, "proa save %s | ssh %s proa load", args[0], host)
			}
		},
	}
}
