// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/dirs"
)

// Engine is what the commands call: libpod's, or a test's stand-in.
type Engine interface {
	objects
	containerEngine
	createEngine
	imageEngine
	inspectEngine
	systemEngine
	volumeEngine
}

var _ Engine = (*libpod.Engine)(nil)

// Main runs the command line args (without the program's name), prints the
// error, and returns the status to exit with.
func Main(ctx context.Context, args []string, std Std) int {
	return run(ctx, args, std, tree(), openEngine)
}

func openEngine(ctx context.Context, a *app) (any, error) {
	d, notices, err := dirs.Default()
	if err != nil {
		return nil, err
	}
	for _, n := range notices {
		a.out.Notice(n)
	}
	return libpod.Open(ctx, libpod.Options{Dirs: d, Notice: a.out.Notice, Warning: a.out.Warning, NewProgress: output.NewProgress})
}

// WriteDocs writes the command reference (dir/cli/*.md) and the manual pages (dir/man/*.1).
func WriteDocs(dir string) error { return writeTree(dir, tree()) }

// CheckDocs fails where WriteDocs would change something.
func CheckDocs(dir string) error { return checkTree(dir, tree()) }
