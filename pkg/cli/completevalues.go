// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/spec"
)

// oneOf names the values of a flag, for the help and for completion.
func (d *flagDef) oneOf(values ...string) *flagDef {
	d.usage += ` ("` + strings.Join(values, `", "`) + `")`
	return d.suggests(words(values...))
}

// suggests says what completion offers for the flag.
func (d *flagDef) suggests(s suggester) *flagDef {
	d.suggest = s
	return d
}

// path marks a flag whose value is the name of a file.
func (d *flagDef) path() *flagDef {
	d.typ = "path"
	return d.suggests(files)
}

// dir marks a flag whose value is a directory.
func (d *flagDef) dir() *flagDef {
	d.typ = "path"
	return d.suggests(directories)
}

func words(list ...string) suggester {
	return func(context.Context, *app, string) suggestions { return suggestions{words: slices.Clone(list)} }
}

func files(context.Context, *app, string) suggestions { return suggestions{files: "files"} }

func directories(context.Context, *app, string) suggestions { return suggestions{files: "dirs"} }

// environment names the variables of the caller, whose values a bare name takes over.
func environment(context.Context, *app, string) suggestions {
	var s suggestions
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		s.words = append(s.words, name)
	}
	slices.Sort(s.words)
	return s
}

func containers(ctx context.Context, a *app, _ string) suggestions {
	return suggestions{words: a.containerWords(ctx, nil)}
}

func images(ctx context.Context, a *app, _ string) suggestions {
	return suggestions{words: a.imageWords(ctx)}
}

// modes are words of which one that ends in a colon wants the name of a running container.
func modes(list []string) suggester {
	return func(ctx context.Context, a *app, cur string) suggestions {
		if prefix, _, ok := strings.Cut(cur, ":"); ok && slices.Contains(list, prefix+":") {
			return suggestions{words: behind(prefix+":", a.containerWords(ctx, lifecycle.State.Live))}
		}
		return suggestions{words: slices.Clone(list)}
	}
}

func networks(ctx context.Context, a *app, cur string) suggestions {
	return modes(spec.NetworkModes)(ctx, a, cur)
}

func namespaces(flag string) suggester { return modes(spec.NamespaceModes(flag)) }

// volumes are what stands before the first colon of -v, and the options behind the
// second one.
func volumes(ctx context.Context, a *app, cur string) suggestions {
	parts := strings.Split(cur, ":")
	switch {
	case len(parts) == 1 && strings.HasPrefix(cur, "/"), len(parts) == 1 && strings.HasPrefix(cur, "."):
		return suggestions{files: "dirs"}
	case len(parts) == 1:
		s := suggestions{words: a.volumeWords(ctx)}
		for i, w := range s.words {
			s.words[i] = strings.Replace(w, "\t", ":\t", 1)
		}
		return s
	case len(parts) == 3:
		return fields(spec.VolumeOptions)(ctx, a, cur)
	}
	return suggestions{}
}

// fields are options that commas separate, those that cur does not have yet, or the values
// of the one that cur ends in.
func fields(list []spec.Option) suggester {
	return func(_ context.Context, _ *app, cur string) suggestions {
		before := cur[:strings.LastIndexAny(cur, ",:")+1]
		if key, _, ok := strings.Cut(cur[len(before):], "="); ok {
			return suggestions{words: behind(before+key+"=", optionValues(list, key))}
		}
		given := map[string]bool{}
		for _, f := range strings.FieldsFunc(before, func(r rune) bool { return r == ',' || r == ':' }) {
			key, _, _ := strings.Cut(f, "=")
			given[key] = true
		}
		var s suggestions
		for _, o := range list {
			if !given[o.Name] {
				s.words = append(s.words, before+optionWord(o))
			}
		}
		return s
	}
}

// filters are options of which a flag takes one.
func filters(list []spec.Option) suggester {
	return func(_ context.Context, _ *app, cur string) suggestions {
		if key, _, ok := strings.Cut(cur, "="); ok {
			return suggestions{words: behind(key+"=", optionValues(list, key))}
		}
		var s suggestions
		for _, o := range list {
			s.words = append(s.words, optionWord(o))
		}
		return s
	}
}

func optionWord(o spec.Option) string {
	if o.Arg != "" {
		return o.Name + "=\t" + o.About
	}
	return o.Name + "\t" + o.About
}

func optionValues(list []spec.Option, key string) []string {
	for _, o := range list {
		if o.Name == key {
			return o.Values
		}
	}
	return nil
}

// filterFlag is --filter of a command that knows these filters.
func filterFlag(f *flagSet, p *[]string, short, usage string, known []spec.Option) {
	d := f.texts(p, "filter", short, usage+" ("+spec.OptionNames(known)+")").suggests(filters(known))
	d.typ, d.options = "filter", known
}

// mountFlag is --mount.
func mountFlag(f *flagSet, p *[]string, usage string) {
	d := f.texts(p, "mount", "", usage).suggests(fields(spec.MountFields))
	d.typ, d.options = "mount", spec.MountFields
}

// formatFlag is --format of a listing. The header names what a template can use.
func formatFlag(f *flagSet, p *string, header any) {
	d := f.text(p, "format", "",
		`Format output using a custom template: "table", "table TEMPLATE", "json" or a Go template`)
	d.options = output.Fields(header)
	list := []string{"table", "json"}
	for _, o := range d.options {
		list = append(list, "{{."+o.Name+"}}\t"+o.About)
	}
	d.suggests(words(list...))
}

func behind(prefix string, list []string) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = prefix + w
	}
	return out
}

// objects is the part of the engine that lists what exists.
type objects interface {
	List(context.Context, libpod.ListOptions) ([]libpod.Summary, error)
	Images(context.Context, libpod.ImageListOptions) ([]libpod.ImageSummary, error)
	Volumes(ctx context.Context, filters map[string][]string) ([]libpod.Volume, error)
	Artifacts(context.Context) ([]libpod.Artifact, error)
}

// The objects that exist. Completion is silent about errors: the command will report them.

func (a *app) containerWords(ctx context.Context, acts func(lifecycle.State) bool) []string {
	e, err := engineOf[objects](ctx, a)
	if err != nil {
		return nil
	}
	list, _ := e.List(ctx, libpod.ListOptions{All: true})
	var out []string
	for _, c := range list {
		if acts == nil || acts(c.State) {
			out = append(out, c.Name+"\t"+c.Image+" "+string(c.State))
		}
	}
	return out
}

func (a *app) imageWords(ctx context.Context) []string {
	e, err := engineOf[objects](ctx, a)
	if err != nil {
		return nil
	}
	list, _ := e.Images(ctx, libpod.ImageListOptions{})
	var out []string
	for _, i := range list {
		for _, n := range i.Names {
			out = append(out, n+"\timage")
		}
	}
	return out
}

func (a *app) volumeWords(ctx context.Context) []string {
	e, err := engineOf[objects](ctx, a)
	if err != nil {
		return nil
	}
	list, _ := e.Volumes(ctx, nil)
	var out []string
	for _, v := range list {
		out = append(out, v.Name+"\tvolume")
	}
	return out
}

func (a *app) artifactWords(ctx context.Context) []string {
	e, err := engineOf[objects](ctx, a)
	if err != nil {
		return nil
	}
	list, _ := e.Artifacts(ctx)
	var out []string
	for _, f := range list {
		out = append(out, f.Name+"\tartifact")
	}
	return out
}
