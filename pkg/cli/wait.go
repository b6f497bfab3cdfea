// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/errs"
)

type waitFlags struct {
	latest     bool
	conditions [][]string
	ignore     bool
}

func waitCommand() *command {
	return &command{
		examples: []string{
			`proa wait job   prints its exit status`,
		},
		name: "wait", args: "CONTAINER [CONTAINER...]", short: "Block until one or more containers stop, then print their exit codes", max: -1,
		twin: "container wait", acts: lifecycle.State.Live,
		setup: func(f *flagSet) action {
			var o waitFlags
			latestFlag(f, &o.latest)
			parsedList(f, &o.conditions, "condition", "", "string", "Condition to wait for, the first of several", parseConditions).
				oneOf(libpod.WaitConditions...)
			f.boolean(&o.ignore, "ignore", "", "A container that does not exist counts as -1")
			f.accept("Proa is told of the end and does not poll", "interval")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

// parseConditions takes podman's list by commas.
func parseConditions(s string) ([]string, error) {
	list := strings.Split(s, ",")
	for _, c := range list {
		if err := libpod.CheckWaitCondition(c); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (o *waitFlags) run(ctx context.Context, a *app, args []string) error {
	ref, rest, err := oneOf(ctx, a, o.latest, args)
	if err != nil {
		return err
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return err
	}
	return a.sideBySide(append([]string{ref}, rest...), func(ref string) (string, error) {
		code, err := e.Wait(ctx, ref, slices.Concat(o.conditions...))
		if o.ignore && errs.Is(err, errs.NotFound) {
			code, err = -1, nil
		}
		return strconv.Itoa(code), err
	})
}
