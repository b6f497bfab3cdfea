// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"path/filepath"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

func artifactExtractCommand() *command {
	return &command{
		name: "extract", args: "ARTIFACT PATH", short: "Write the files of an artifact into a directory, or one to a file", min: 2, max: 2,
		setup: func(f *flagSet) action {
			var o libpod.ArtifactExtractOptions
			f.text(&o.Digest, "digest", "", "Only the file with this digest")
			f.text(&o.Title, "title", "", "Only the file with this title")
			return func(ctx context.Context, a *app, args []string) error {
				if o.Digest != "" && o.Title != "" {
					return errs.WithHint(errs.New(errs.Invalid, "--digest and --title cannot be used together"), "omit one of the two")
				}
				path, err := a.abs(args[1])
				if err != nil {
					return err
				}
				dir := filepath.Dir(path)
				if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
					return errs.WithHint(errs.New(errs.NotFound, "directory %q does not exist", dir), "mkdir -p %s", dir)
				}
				e, err := engineOf[imageEngine](ctx, a)
				if err != nil {
					return err
				}
				return e.ArtifactExtract(ctx, args[0], path, o)
			}
		},
	}
}
