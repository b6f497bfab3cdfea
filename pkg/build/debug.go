// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"errors"
	"io"
)

// FailedStep is the error of a RUN whose command returned non-zero.
type FailedStep struct {
	err  error
	top  Layer   // the state before the step
	step RunStep // a shell in its place
}

func (f *FailedStep) Error() string { return f.err.Error() }
func (f *FailedStep) Unwrap() error { return f.err }

// Shell runs an interactive shell in the state before the step, with its
// variables, user, directory and network, but without its mounts. What the shell
// changes is thrown away. in and out are the ends of a terminal. It returns the
// shell's exit code.
func (f *FailedStep) Shell(ctx context.Context, e Engine, in io.Reader, out io.Writer) (code int, err error) {
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
