// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/errs"
)

func portCommand() *command {
	return &command{
		examples: []string{
			`proa port web 80   the address on this machine`,
		},
		name: "port", args: "CONTAINER [PRIVATE_PORT[/PROTO]]", short: "List port mappings or a specific mapping for the container", max: 2,
		twin: "container port", acts: lifecycle.State.Live,
		setup: func(f *flagSet) action {
			var latest bool
			latestFlag(f, &latest)
			return func(ctx context.Context, a *app, args []string) error { return runPort(ctx, a, latest, args) }
		},
	}
}

func runPort(ctx context.Context, a *app, latest bool, args []string) error {
	ref, rest, err := oneOf(ctx, a, latest, args)
	if err != nil {
		return err
	}
	only := strings.Join(rest, "")
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return err
	}
	ports, err := e.Ports(ctx, ref)
	if err != nil {
		return err
	}
	lines := output.PortLines(ports, only)
	if only != "" && len(lines) == 0 {
		if !strings.Contains(only, "/") {
			only += "/tcp"
		}
		return errs.WithHint(errs.New(errs.NotFound, "No public port '%s' published for %s", only, ref), "\"proa port %s\" lists the published ports", ref)
	}
	for _, l := range lines {
		a.out.Println(l)
	}
	return nil
}
