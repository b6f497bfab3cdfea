// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/spec"
)

// containerEngine is the part of the engine that the commands of containers use.
type containerEngine interface {
	mountEngine
	Run(context.Context, *spec.Container, libpod.RunOptions) (string, error)
	Create(context.Context, *spec.Container, libpod.CreateOptions) (string, error)
	Start(context.Context, string, libpod.StartOptions) error
	Stop(context.Context, string, libpod.StopOptions) error
	Kill(ctx context.Context, ref, signal string) error
	Restart(context.Context, string, libpod.StopOptions) error
	Pause(ctx context.Context, ref string) error
	Unpause(ctx context.Context, ref string) error
	Wait(ctx context.Context, ref string, conditions []string) (int, error)
	Remove(context.Context, string, libpod.RemoveOptions) error
	Rename(ctx context.Context, ref, name string) error
	Attach(context.Context, string, libpod.Streams) error
	Exec(context.Context, string, libpod.ExecOptions) error
	Logs(ctx context.Context, ref string, o libpod.LogOptions, stdout, stderr io.Writer) error
	Ports(ctx context.Context, ref string) ([]spec.Port, error)
	Top(ctx context.Context, ref string, args []string) ([]string, [][]string, error)
	List(context.Context, libpod.ListOptions) ([]libpod.Summary, error)
	Inspect(ctx context.Context, ref string) (*libpod.Details, error)
	Commit(ctx context.Context, ref string, o libpod.CommitOptions) (string, error)
	Diff(ctx context.Context, ref, base string, kind libpod.DiffKind) ([]libpod.Change, error)
	Export(ctx context.Context, ref string, w io.Writer) error
}
