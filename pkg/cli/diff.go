// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

func diffCommand() *command {
	return &command{
		examples: []string{
			`proa diff web   what the container changed`,
		},
		name: "diff", args: "CONTAINER|IMAGE [CONTAINER|IMAGE]", short: "Inspect changes to files or directories on a container's or an image's filesystem", max: 2,
		long: "A container is compared with its image, an image with what lies below its topmost layer, and with two names the\nfirst with the second.",
		setup: func(f *flagSet) action {
			var o diffFlags
			o.register(f)
			latestFlag(f, &o.latest)
			return o.run
		},
	}
}

func containerDiffCommand() *command {
	return &command{
		name: "diff", args: "CONTAINER [CONTAINER]", short: "Inspect changes to files or directories on a container's filesystem", max: 2,
		setup: func(f *flagSet) action {
			o := diffFlags{kind: libpod.DiffContainers}
			o.register(f)
			latestFlag(f, &o.latest)
			return o.run
		},
	}
}

func imageDiffCommand() *command {
	return &command{
		name: "diff", args: "IMAGE [IMAGE]", short: "Show what an image changed of what lies below it, or of another image", min: 1, max: 2,
		setup: func(f *flagSet) action {
			o := diffFlags{kind: libpod.DiffImages}
			o.register(f)
			return o.run
		},
	}
}

type diffFlags struct {
	kind   libpod.DiffKind
	format string
	latest bool
}

func (o *diffFlags) register(f *flagSet) {
	f.text(&o.format, "format", "", `Print the changes as "json"`).suggests(words("json"))
}

func (o *diffFlags) run(ctx context.Context, a *app, args []string) error {
	if o.format != "" && o.format != "json" {
		return errs.WithHint(errs.New(errs.Invalid, "unknown format %q", o.format), "write --format json, or omit it")
	}
	ref, rest, err := oneOf(ctx, a, o.latest, args)
	if err != nil {
		return err
	}
	base := ""
	switch len(rest) {
	case 0:
	case 1:
		base = rest[0]
	default:
		return errs.WithHint(errs.New(errs.Invalid, "--latest can be compared with one other"), "omit one name")
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return err
	}
	list, err := e.Diff(ctx, ref, base, o.kind)
	if err != nil {
		return err
	}
	return o.print(a, list)
}

func (o *diffFlags) print(a *app, list []libpod.Change) error {
	if o.format == "json" {
		doc := map[string][]string{}
		for _, c := range list {
			k := map[string]string{"A": "added", "C": "changed", "D": "deleted"}[c.Kind]
			doc[k] = append(doc[k], c.Path)
		}
		return a.out.Template("json", doc)
	}
	for _, c := range list {
		a.out.Println(c.Kind + " " + c.Path)
	}
	return nil
}
