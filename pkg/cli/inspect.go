// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/dockerdoc"
	"github.com/proa-containers/proa/pkg/errs"
)

type inspectFlags struct {
	format, typ  string
	size, latest bool
}

// inspectEngine is the part of the engine that describes objects.
type inspectEngine interface {
	List(context.Context, libpod.ListOptions) ([]libpod.Summary, error)
	Inspect(ctx context.Context, ref string) (*libpod.Details, error)
	ImageInspect(ctx context.Context, ref string) (*libpod.ImageDetails, error)
	VolumeInspect(ctx context.Context, name string) (*libpod.Volume, error)
	ArtifactInspect(ctx context.Context, ref string) (*libpod.Artifact, error)
}

// lookup finds the document of one object.
type lookup func(ctx context.Context, e inspectEngine, ref string) (any, error)

func inspectCommand() *command {
	return &command{
		examples: []string{
			`proa inspect -f '{{.NetworkSettings.IPAddress}}' web   one value`,
			`proa inspect -f '{{json .State}}' web | jq              a part, as JSON`,
		},
		name: "inspect", args: "NAME|ID [NAME|ID...]", short: "Return low-level information on objects", max: -1,
		setup: func(f *flagSet) action {
			var o inspectFlags
			o.register(f)
			f.boolean(&o.size, "size", "s", "Display total file sizes if the type is container")
			latestFlag(f, &o.latest)
			f.text(&o.typ, "type", "t", "Only objects of this type").oneOf("container", "image", "volume", "artifact")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func containerInspectCommand() *command {
	return &command{
		name: "inspect", args: "CONTAINER [CONTAINER...]", short: "Display detailed information on one or more containers", max: -1,
		setup: func(f *flagSet) action {
			o := inspectFlags{typ: "container"}
			o.register(f)
			f.boolean(&o.size, "size", "s", "Display total file sizes")
			latestFlag(f, &o.latest)
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

// inspector is inspect for one type of object.
func inspector(typ, args, short string) *command {
	return &command{
		name: "inspect", args: args, short: short, min: 1, max: -1,
		setup: func(f *flagSet) action {
			o := inspectFlags{typ: typ}
			o.register(f)
			if typ == "image" {
				f.refuse("an image in the store is for one platform", "omit it", "platform")
			}
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *inspectFlags) register(f *flagSet) {
	d := f.text(&o.format, "format", "f", `Format output using a custom template: "json" or a Go template`).suggests(words("json"))
	f.alias(d, "filter") // what some texts call it
}

func (o *inspectFlags) run(ctx context.Context, a *app, args []string) error {
	ref, rest, err := oneOf(ctx, a, o.latest, args)
	if err != nil {
		return err
	}
	find, err := o.lookups()
	if err != nil {
		return err
	}
	e, err := engineOf[inspectEngine](ctx, a)
	if err != nil {
		return err
	}
	var docs []any
	var failed []error
	for _, ref := range append([]string{ref}, rest...) {
		doc, err := o.first(ctx, e, find, ref)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		docs = append(docs, doc)
	}
	if err := o.print(a, docs, len(failed) > 0); err != nil {
		return err
	}
	return a.each(make([]string, len(failed)), func(string) error {
		err := failed[0]
		failed = failed[1:]
		return err
	})
}

func (o *inspectFlags) print(a *app, docs []any, failed bool) error {
	if o.format == "" {
		return a.out.Documents(docs)
	}
	if len(docs) == 0 && failed {
		a.out.Println("")
		return nil
	}
	for _, d := range docs {
		if err := a.out.Template(o.format, d); err != nil {
			return err
		}
	}
	return nil
}

func (o *inspectFlags) lookups() ([]lookup, error) {
	container := func(ctx context.Context, e inspectEngine, ref string) (any, error) { return o.container(ctx, e, ref) }
	switch o.typ {
	case "":
		return []lookup{container, lookupImage, lookupVolume, lookupArtifact}, nil
	case "container":
		return []lookup{container}, nil
	case "image":
		return []lookup{lookupImage}, nil
	case "volume":
		return []lookup{lookupVolume}, nil
	case "artifact":
		return []lookup{lookupArtifact}, nil
	}
	return nil, errs.WithHint(errs.New(errs.Invalid, "%q is not a valid value for --type", o.typ), "write --type container, image, volume or artifact")
}

// first asks one type of object after the other.
func (o *inspectFlags) first(ctx context.Context, e inspectEngine, find []lookup, ref string) (any, error) {
	for _, f := range find {
		doc, err := f(ctx, e, ref)
		if err == nil || !errs.Is(err, errs.NotFound) || len(find) == 1 {
			return doc, err
		}
	}
	return nil, errs.WithHint(errs.New(errs.NotFound, "No such object: %s", ref), "\"proa ps -a\" and \"proa images\" list what there is")
}

func (o *inspectFlags) container(ctx context.Context, e inspectEngine, ref string) (any, error) {
	d, err := e.Inspect(ctx, ref)
	if err != nil {
		return nil, err
	}
	doc := dockerdoc.ContainerDocument(d)
	if o.size {
		list, err := e.List(ctx, libpod.ListOptions{All: true, Size: true, Filters: map[string][]string{"id": {d.ID}}})
		if err != nil {
			return nil, err
		}
		for i := range list {
			doc.SizeRw, doc.SizeRootFs = &list[i].SizeRw, &list[i].SizeRoot
		}
	}
	return doc, nil
}

func lookupImage(ctx context.Context, e inspectEngine, ref string) (any, error) {
	d, err := e.ImageInspect(ctx, ref)
	if err != nil {
		return nil, err
	}
	return dockerdoc.ImageDocument(d), nil
}

func lookupVolume(ctx context.Context, e inspectEngine, ref string) (any, error) {
	v, err := e.VolumeInspect(ctx, ref)
	if err != nil {
		return nil, err
	}
	return dockerdoc.VolumeDocument(v), nil
}

func lookupArtifact(ctx context.Context, e inspectEngine, ref string) (any, error) {
	return e.ArtifactInspect(ctx, ref)
}

// inspectorOne is inspect for a type whose document podman prints without a
// list around it.
func inspectorOne(find lookup, args, short string) *command {
	return &command{
		name: "inspect", args: args, short: short, min: 1, max: 1,
		setup: func(f *flagSet) action {
			var o inspectFlags
			o.register(f)
			return withEngine(func(ctx context.Context, a *app, e inspectEngine, args []string) error {
				doc, err := find(ctx, e, args[0])
				if err != nil {
					return err
				}
				if o.format == "" {
					return a.out.Document(doc)
				}
				return a.out.Template(o.format, doc)
			})
		},
	}
}
