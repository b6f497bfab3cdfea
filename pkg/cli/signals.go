// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
)

// UntilSignal is a context that a signal ends, with the status that a shell
// gives for that signal as the cause. A second signal ends the process the usual
// way, unless it comes with the first: timeout(1) sends each to its child and
// once more to the group that the child is in.
func UntilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	got := make(chan os.Signal, 1)
	signal.Notify(got, endSignals()...)
	go func() {
		select {
		case s := <-got:
			cancel(&errs.ExitError{Code: 128 + int(s.(syscall.Signal))})
			time.Sleep(sameSignal)
			signal.Stop(got)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(got); cancel(nil) }
}

// sameSignal is how long a second signal counts as the first. On a busy machine
// timeout(1) may wait for a processor between the two.
const sameSignal = time.Second

// endSignals are those that end a command, but for what nohup or a shell made
// it ignore: asking for a signal would end that. For SIGQUIT, Ctrl-\, Go would
// print the stacks of the program.
func endSignals() []os.Signal {
	var list []os.Signal
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			list = append(list, s)
		}
	}
	return list
}

// signalStatus is the status of a command that a signal ended: 130 for Ctrl-C,
// 131 for Ctrl-\, 143 for SIGTERM.
func signalStatus(ctx context.Context) int {
	var exit *errs.ExitError
	if errors.As(context.Cause(ctx), &exit) {
		return exit.Code
	}
	return 130
}
