// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"path/filepath"
	"strings"

	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/cli/output"
	"github.com/proa-containers/proa/pkg/errs"
)

// reporter shows progress as asked: on a terminal one line per step, else
// Docker's classic text.
func (o *buildFlags) reporter(a *app) buildReporter {
	switch {
	case o.quiet:
		return output.NewBuildPlain(io.Discard, a.out.ErrWriter())
	case o.progress == "json", o.progress == "rawjson":
		return output.NewBuildJSON(a.out.OutWriter())
	case o.progress == "tty", o.progress == "auto" && o.o.Output.Dest != "-" && output.IsTerminal(a.std.Out):
		return output.NewBuildTTY(a.out.OutWriter(), func() (int, int) { return output.TerminalSize(a.std.Out) })
	}
	o.o.MeasureContext = true
	out := a.out.OutWriter()
	if o.o.Output.Dest == "-" {
		out = a.out.ErrWriter() // standard output is the archive
	}
	return output.NewBuildPlain(out, a.out.ErrWriter())
}

type buildReporter interface {
	build.Reporter
	Finish(*build.Result, error)
}

// parseImageForm accepts the one form that builds have.
func parseImageForm(s string) (string, error) {
	if s != "oci" {
		return "", errs.WithHint(errs.New(errs.Unsupported, "image form %q is not supported: images are built in OCI form", s), "leave --format away")
	}
	return s, nil
}

// fillOutputs reads -o: a directory, "-", or type=image|local|tar|docker|oci.
func (o *buildFlags) fillOutputs(a *app) error {
	if len(o.outputs) > 1 {
		return errs.New(errs.Unsupported, "several --output are not supported")
	}
	for _, out := range o.outputs {
		kind, dest := "local", out
		if strings.Contains(out, "=") {
			kind, dest = "", ""
			for _, part := range strings.Split(out, ",") {
				switch k, v, _ := strings.Cut(part, "="); k {
				case "type":
					kind = v
				case "dest":
					dest = v
				case "name":
					o.o.Tags = append(o.o.Tags, v)
				default:
					return errs.New(errs.Invalid, "invalid output %q: unexpected key %q", out, k)
				}
			}
		}
		if err := o.setOutput(a, kind, dest, out); err != nil {
			return err
		}
	}
	return nil
}

func (o *buildFlags) setOutput(a *app, kind, dest, text string) error {
	switch kind {
	case "image", "docker":
		if dest != "" {
			return errs.WithHint(errs.New(errs.Unsupported, "output type %s with dest is not supported", kind), "build with -t NAME, then: proa save -o %s NAME", dest)
		}
		return nil
	case "local", "tar":
		if dest == "" {
			return errs.New(errs.Invalid, "invalid output %q: it needs dest=PATH", text)
		}
		if dest == "-" {
			kind = "tar"
		} else {
			dest = filepath.Clean(a.abs(dest))
		}
		o.o.Output = build.Output{Kind: kind, Dest: dest, Stdout: a.out.OutWriter()}
		return nil
	}
	return errs.WithHint(errs.New(errs.Unsupported, "output type %q is not supported", kind), "use type=image, type=local or type=tar")
}
