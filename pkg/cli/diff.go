// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/pkg/errs"
)

func diffCommand() *command {
	return &command{
		name: "diff", args: "CONTAINER", short: "Inspect changes to files or directories on a container's filesystem", max: 1, twin: "container diff",
		setup: func(f *flagSet) action {
			var format string
			var latest bool
			f.text(&format, "format", "", `Print the changes as "json"`)
			latestFlag(f, &latest)
			return func(ctx context.Context, a *app, args []string) error {
				if format != "" && format != "json" {
					return errs.WithHint(errs.New(errs.Invalid, "unknown format %q", format), "write --format json, or leave it away")
				}
				ref, _, err := oneOf(ctx, a, latest, args)
				if err != nil {
					return err
				}
				return diff(ctx, a, ref, format == "json")
			}
		},
	}
}

func diff(ctx context.Context, a *app, ref string, asJSON bool) error {
	e, err := a.engine(ctx)
	if err != nil {
		return err
	}
	list, err := e.Diff(ctx, ref)
	if err != nil {
		return err
	}
	if asJSON {
		doc := map[string][]string{}
		for _, c := range list {
			k := map[string]string{"A": "added", "C": "changed", "D": "deleted"}[c.Kind]
			doc[k] = append(doc[k], c.Path)
		}
		return a.out.Template("json", doc)
	}
	for _, c := range list {
		a.out.Println(c.Kind + " " + c.Path)
	}
	return nil
}
