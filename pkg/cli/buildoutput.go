// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/cli/output"
	"github.com/proa-containers/proa/pkg/errs"
)

// reporter shows progress as asked: on a terminal one line per step, else
// Docker's classic text. close ends the log file, if there is one.
func (o *buildFlags) reporter(a *app) (rep buildReporter, closeLog func() error, err error) {
	out, errOut := a.out.OutWriter(), a.out.ErrWriter()
	if o.o.Output.Dest == "-" {
		out = errOut // standard output is the archive
	}
	closeLog = func() error { return nil }
	terminal := o.progress == "auto" && o.o.Output.Dest != "-" && output.IsTerminal(a.std.Out)
	if o.logFile != "" {
		f, err := os.Create(a.abs(o.logFile))
		if err != nil {
			return nil, nil, errs.WithHint(errs.New(errs.Invalid, "cannot write the log: %v", err), "check the path of --logfile")
		}
		out, errOut, closeLog, terminal = f, f, f.Close, false
	}
	switch {
	case o.quiet && o.logFile == "":
		return output.NewBuildPlain(io.Discard, errOut), closeLog, nil
	case o.progress == "json", o.progress == "rawjson":
		return output.NewBuildJSON(out), closeLog, nil
	case o.progress == "tty", terminal:
		return output.NewBuildTTY(out, func() (int, int) { return output.TerminalSize(a.std.Out) }), closeLog, nil
	}
	o.o.MeasureContext = true
	return output.NewBuildPlain(out, errOut), closeLog, nil
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
