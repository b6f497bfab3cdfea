// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

type artifactAddFlags struct {
	libpod.ArtifactAddOptions
	annotations []string
}

func artifactAddCommand() *command {
	return &command{
		examples: []string{
			`proa artifact add quay.io/me/model:1 model.gguf          one file`,
			`proa artifact add --append quay.io/me/model:1 card.md    another one beside it`,
		},
		name: "add", args: "ARTIFACT PATH [PATH...]", short: "Make an artifact of files", min: 2, max: -1,
		setup: func(f *flagSet) action {
			var o artifactAddFlags
			f.texts(&o.annotations, "annotation", "", "Annotation of each file (KEY=VALUE)")
			f.boolean(&o.Append, "append", "a", "Put the files into an existing artifact")
			f.text(&o.FileType, "file-type", "", "Media type of the files (default: told by their content)")
			f.boolean(&o.Replace, "replace", "", "Replace an artifact of the same name")
			f.text(&o.Type, "type", "", "Type of the artifact")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *artifactAddFlags) run(ctx context.Context, a *app, args []string) (err error) {
	switch {
	case o.Append && o.Type != "":
		return errs.WithHint(errs.New(errs.Invalid, "--append cannot be used with --type: the artifact has one"), "omit one of the two")
	case o.Append && o.Replace:
		return errs.WithHint(errs.New(errs.Invalid, "--append and --replace cannot be used together"), "omit one of the two")
	}
	if o.Annotations, err = spec.ParseKeyValues("annotation", o.annotations); err != nil {
		return err
	}
	var files []string
	for _, p := range args[1:] {
		if err := a.absolute(&p); err != nil {
			return err
		}
		files = append(files, p)
	}
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	d, err := e.ArtifactAdd(ctx, args[0], files, o.ArtifactAddOptions)
	if err == nil {
		a.out.Println(hexOf(d))
	}
	return err
}
