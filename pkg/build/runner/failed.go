// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"errors"
	"io"

	"github.com/proa-containers/proa/pkg/build/engine"
)

// Failed is the error of a RUN whose command returned non-zero.
type Failed struct {
	err  error
	top  engine.Layer   // the state before the step
	step engine.RunStep // a shell in its place
}

func (f *Failed) Error() string { return f.err.Error() }
func (f *Failed) Unwrap() error { return f.err }

// Shell runs an interactive shell in the state before the step, with its
// variables, user, directory and network, but without its mounts. What the shell
// changes is thrown away. in and out are the ends of a terminal. It returns the
// shell's exit code.
func (f *Failed) Shell(ctx context.Context, e engine.Engine, in io.Reader, out io.Writer) (code int, err error) {
	sc, err := e.NewScratch(ctx, f.top)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, sc.Discard()) }()
	step := f.step
	step.Rootfs, step.In, step.Stdout = sc.Rootfs(), in, out
	step.Container.Process.TTY, step.Container.Process.OpenStdin = true, true
	return e.Run(ctx, step)
}
