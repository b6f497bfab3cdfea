// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/errs"
)

type waitFlags struct {
	latest    bool
	condition string
	ignore    bool
}

func waitCommand() *command {
	return &command{
		name: "wait", args: "CONTAINER [CONTAINER...]", short: "Block until one or more containers stop, then print their exit codes", max: -1,
		twin: "container wait", acts: lifecycle.State.Live,
		setup: func(f *flagSet) action {
			var o waitFlags
			latestFlag(f, &o.latest)
			parsed(f, &o.condition, "condition", "", "string", "Condition to wait for", checkCondition).oneOf(waitConditions...)
			f.boolean(&o.ignore, "ignore", "", "A container that does not exist counts as -1")
			f.accept("Proa is told of the end and does not poll", "interval")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

var waitConditions = []string{"not-running", "next-exit", "removed", "running", "stopped", "exited"}

func checkCondition(s string) (string, error) {
	if s != "" && !slices.Contains(waitConditions, s) {
		return "", errs.WithHint(errs.New(errs.Invalid, "unknown condition %q", s), "conditions are %s", strings.Join(waitConditions, ", "))
	}
	return s, nil
}

func (o *waitFlags) run(ctx context.Context, a *app, args []string) error {
	ref, rest, err := oneOf(ctx, a, o.latest, args)
	if err != nil {
		return err
	}
	e, err := a.engine(ctx)
	if err != nil {
		return err
	}
	return a.each(append([]string{ref}, rest...), func(ref string) error {
		code, err := e.Wait(ctx, ref, o.condition)
		if o.ignore && errs.Is(err, errs.NotFound) {
			code, err = -1, nil
		}
		if err == nil {
			a.out.Now(strconv.Itoa(code))
		}
		return err
	})
}
