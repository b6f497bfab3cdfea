// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strconv"
	"time"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

type logsFlags struct {
	libpod.LogOptions
	latest bool
}

func logsCommand() *command {
	return &command{
		examples: []string{
			`proa logs --tail 20 -f web    the last lines, and those to come`,
			`proa logs --since 10m -t web  ten minutes, with times`,
		},
		name: "logs", args: "CONTAINER", short: "Fetch the logs of a container", max: 1, twin: "container logs",
		setup: func(f *flagSet) action {
			o := logsFlags{LogOptions: libpod.LogOptions{Tail: -1}}
			f.boolean(&o.Follow, "follow", "f", "Follow log output")
			parsed(f, &o.Tail, "tail", "n", "string", "Number of lines to show from the end of the logs", parseTail).def = "all"
			now := time.Now()
			parsed(f, &o.Since, "since", "", "string", `Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")`, parseWhen(now))
			parsed(f, &o.Until, "until", "", "string", `Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")`, parseWhen(now))
			f.boolean(&o.Timestamps, "timestamps", "t", "Show timestamps")
			f.boolean(&o.Details, "details", "", "Show extra details provided to logs")
			latestFlag(f, &o.latest)
			f.refuse("one container at a time is shown", "omit it", "names!", "color!")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

// parseTail reads a number of lines; "all" and anything negative are all.
func parseTail(s string) (int, error) {
	if s == "all" {
		return -1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, errs.New(errs.Invalid, "write a number of lines, or all")
	}
	return max(n, -1), nil
}

func (o *logsFlags) run(ctx context.Context, a *app, args []string) error {
	ref, _, err := oneOf(ctx, a, o.latest, args)
	if err != nil {
		return err
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return err
	}
	err = e.Logs(ctx, ref, o.LogOptions, a.out.OutWriter(), a.out.ErrWriter())
	switch {
	case errs.Is(err, errs.Unsupported):
		return &errs.Error{Kind: errs.Unsupported, Hint: errs.HintOf(err),
			Err: errs.New(errs.Unsupported, "Error response from daemon: configured logging driver does not support reading")}
	case o.Follow && ctx.Err() != nil:
		// Ctrl-C is how a person ends a follow: no message, a signal's status.
		return &errs.ExitError{Code: signalStatus(ctx)}
	}
	return err
}
