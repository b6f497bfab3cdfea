// SPDX-License-Identifier: Apache-2.0

// Command proa is the front end: the command line of Proa.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/cli"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage"
)

func main() {
	debug.SetGCPercent(400) // most commands are over before a collection pays
	os.Exit(run())
}

func run() int {
	if storage.Reexec() {
		return 0
	}
	ctx, stop := untilSignal()
	defer stop()
	if handled, err := libpod.Internal(ctx, os.Args[1:]); handled {
		return internalStatus(err)
	}
	return cli.Main(ctx, os.Args[1:], cli.Process())
}

// untilSignal is a context that a signal ends, with the status that a shell
// gives for that signal as the cause. A second signal ends the process the usual
// way.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	got := make(chan os.Signal, 1)
	signal.Notify(got, endSignals()...)
	go func() {
		select {
		case s := <-got:
			signal.Stop(got)
			cancel(&errs.ExitError{Code: 128 + int(s.(syscall.Signal))})
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(got); cancel(nil) }
}

// endSignals are those that end a command, but for what nohup or a shell made
// it ignore: asking for a signal would end that.
func endSignals() []os.Signal {
	var list []os.Signal
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			list = append(list, s)
		}
	}
	return list
}

// internalStatus reports the end of a hidden command, which speaks to the
// program that started it.
func internalStatus(err error) int {
	var exit *errs.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "proa:", err)
	}
	return errs.ExitCode(err)
}
