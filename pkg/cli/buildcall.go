// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"

	"github.com/proa-containers/proa/cmd/proa/cli/build/show"
	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/errs"
)

// buildCall is --call METHOD[,format=FORMAT].
type buildCall struct {
	method string // empty: build
	json   bool
}

// parseCall accepts those of buildx's methods that say something here.
func parseCall(s string) (buildCall, error) {
	method, rest, _ := strings.Cut(s, ",")
	c := buildCall{method: method}
	switch method {
	case "build", "check", "targets", "outline":
	case "lint":
		c.method = "check"
	default:
		return c, errs.WithHint(errs.New(errs.Unsupported, "method %q is not implemented", method), "use build, check, targets or outline")
	}
	switch rest {
	case "", "format=text":
	case "format=json":
		c.json = true
	default:
		return c, errs.WithHint(errs.New(errs.Invalid, "unexpected %q", rest), "write %s,format=json", method)
	}
	return c, nil
}

// describe says what is in a Dockerfile, or what the linter finds; it needs no images.
func (o *buildFlags) describe(ctx context.Context, a *app, args []string) error {
	if err := o.fillContext(ctx, a, args); err != nil {
		return err
	}
	pod, err := pod(ctx, a)
	if err != nil {
		return err
	}
	o.o.CheckOnly, o.o.CheckDir = true, filepath.Join(pod.BuildCacheDir(), "tmp")
	o.o.BaseEnv = func(ref string) ([]string, bool) {
		img, err := pod.ImageInspect(ctx, ref)
		if err != nil {
			return nil, false // nobody asks a registry to check a Dockerfile
		}
		return img.Config.Env, true
	}
	var rep buildReporter = show.NewQuiet(io.Discard)
	closeLog := func() error { return nil }
	if o.call.method == "check" && !o.call.json {
		if rep, closeLog, err = o.reporter(a); err != nil {
			return err
		}
	}
	r, err := build.Build(ctx, o.o, nil, rep)
	if err = errors.Join(err, closeLog()); err != nil {
		return err
	}
	var doc any = r.Outline
	text := show.Outline
	switch o.call.method {
	case "targets":
		doc, text = map[string]any{"targets": r.Targets}, show.Targets
	case "check":
		doc, text = show.Lint(r), show.LintSummary
	}
	if o.call.json {
		b, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			return err
		}
		a.out.Println(string(b))
	} else {
		a.out.Print(text(r))
	}
	if o.call.method == "check" && len(r.Warnings) > 0 {
		return &errs.ExitError{Code: 1}
	}
	return nil
}
