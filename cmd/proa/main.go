// SPDX-License-Identifier: Apache-2.0

// Command proa is the front end: the command line of Proa.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

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
	ctx, stop := cli.UntilSignal()
	defer stop()
	if handled, err := libpod.Internal(ctx, os.Args[1:]); handled {
		return internalStatus(err)
	}
	return cli.Main(ctx, os.Args[1:], cli.Process())
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
