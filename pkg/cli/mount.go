// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/dockerdoc"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// mountEngine is the part of the engine that shows files to a shell.
type mountEngine interface {
	List(context.Context, libpod.ListOptions) ([]libpod.Summary, error)
	Images(context.Context, libpod.ImageListOptions) ([]libpod.ImageSummary, error)
	MountImage(ctx context.Context, ref string) (*libpod.Mounted, error)
	MountContainer(ctx context.Context, ref string) (*libpod.Mounted, error)
	MountedImages(context.Context) ([]libpod.Mounted, error)
	MountedContainers(context.Context) ([]libpod.Mounted, error)
	UnmountImage(ctx context.Context, ref string, force bool) (id string, err error)
	UnmountContainer(ctx context.Context, ref string, force bool) (id string, err error)
}

const mountHelp = "The mount is for reading, and for the shell of \"proa unshare\" in which it is made: it ends with that shell.\n" +
	"Without a name, what is mounted there is listed."

// viewer is what mounting images and mounting containers differ in.
type viewer struct {
	mount   func(context.Context, mountEngine, string) (*libpod.Mounted, error)
	mounted func(context.Context, mountEngine) ([]libpod.Mounted, error)
	unmount func(context.Context, mountEngine, string, bool) (string, error)
	every   func(context.Context, mountEngine) ([]string, error)
}

func imageViewer() viewer {
	return viewer{
		mount: func(ctx context.Context, e mountEngine, ref string) (*libpod.Mounted, error) {
			return e.MountImage(ctx, ref)
		},
		mounted: func(ctx context.Context, e mountEngine) ([]libpod.Mounted, error) { return e.MountedImages(ctx) },
		unmount: func(ctx context.Context, e mountEngine, ref string, force bool) (string, error) {
			return e.UnmountImage(ctx, ref, force)
		},
		every: func(ctx context.Context, e mountEngine) (ids []string, err error) {
			list, err := e.Images(ctx, libpod.ImageListOptions{})
			for i := range list {
				ids = append(ids, list[i].ID)
			}
			return ids, err
		},
	}
}

func containerViewer() viewer {
	return viewer{
		mount: func(ctx context.Context, e mountEngine, ref string) (*libpod.Mounted, error) {
			return e.MountContainer(ctx, ref)
		},
		mounted: func(ctx context.Context, e mountEngine) ([]libpod.Mounted, error) { return e.MountedContainers(ctx) },
		unmount: func(ctx context.Context, e mountEngine, ref string, force bool) (string, error) {
			return e.UnmountContainer(ctx, ref, force)
		},
		every: func(ctx context.Context, e mountEngine) (ids []string, err error) {
			list, err := e.List(ctx, libpod.ListOptions{All: true})
			for i := range list {
				ids = append(ids, list[i].ID)
			}
			return ids, err
		},
	}
}

type viewFlags struct {
	viewer
	all, latest, noTrunc bool
	format               string
}

func imageMountCommand() *command {
	return &command{
		name: "mount", args: "[IMAGE...]", short: "Mount images for a shell of \"proa unshare\"", long: mountHelp, max: -1,
		examples: []string{`proa unshare sh -c 'ls "$(proa image mount alpine)/etc"'   look into an image without running it`},
		setup: func(f *flagSet) action {
			o := viewFlags{viewer: imageViewer()}
			f.boolean(&o.all, "all", "a", "Mount all images")
			f.text(&o.format, "format", "", `Print as "json"`).suggests(words("json"))
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func mountCommand() *command {
	return &command{
		name: "mount", args: "[CONTAINER...]", short: "Mount the files of containers for a shell of \"proa unshare\"", long: mountHelp, max: -1, twin: "container mount",
		setup: func(f *flagSet) action {
			o := viewFlags{viewer: containerViewer()}
			f.boolean(&o.all, "all", "a", "Mount all containers")
			f.text(&o.format, "format", "", `Print as "json"`).suggests(words("json"))
			latestFlag(f, &o.latest)
			f.boolean(&o.noTrunc, "no-trunc", "", "Don't truncate output")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *viewFlags) run(ctx context.Context, a *app, args []string) error {
	if o.format != "" && o.format != "json" {
		return errs.WithHint(errs.New(errs.Invalid, "unknown format %q", o.format), "write --format json, or omit it")
	}
	e, err := engineOf[mountEngine](ctx, a)
	if err != nil {
		return err
	}
	if !o.all && !o.latest && len(args) == 0 {
		list, err := o.mounted(ctx, e)
		if err != nil {
			return err
		}
		return o.print(a, list)
	}
	if args, err = allOf(ctx, a, o.viewer, o.all, o.latest, args); err != nil {
		return err
	}
	var list []libpod.Mounted
	failed := a.each(args, func(ref string) error {
		m, err := o.mount(ctx, e, ref)
		if err == nil {
			list = append(list, *m)
		}
		return err
	})
	if len(args) == 1 && len(list) == 1 && o.format == "" && !o.all {
		a.out.Println(list[0].Path)
		return failed
	}
	if err := o.print(a, list); err != nil {
		return err
	}
	return failed
}

// allOf is what --all, --latest or the arguments name.
func allOf(ctx context.Context, a *app, v viewer, all, latest bool, args []string) ([]string, error) {
	if (all || latest) && len(args) > 0 || all && latest {
		return nil, errs.WithHint(errs.New(errs.Invalid, "--all, --latest and names cannot be used together"), "omit all but one")
	}
	if latest {
		ref, _, err := oneOf(ctx, a, true, nil)
		return []string{ref}, err
	}
	if !all {
		return args, nil
	}
	e, err := engineOf[mountEngine](ctx, a)
	if err != nil {
		return nil, err
	}
	return v.every(ctx, e)
}

func (o *viewFlags) print(a *app, list []libpod.Mounted) error {
	if o.format == "json" {
		return a.out.Document(dockerdoc.Mounts(list))
	}
	rows := make([][]string, len(list))
	for i, m := range list {
		name := spec.ShortID(m.ID)
		if o.noTrunc {
			name = m.ID
		}
		if len(m.Names) > 0 {
			name = m.Names[0]
		}
		rows[i] = []string{name, m.Path}
	}
	return a.out.Table(nil, rows)
}

func imageUnmountCommand() *command {
	return unmounter("IMAGE", "Unmount images", imageViewer(), false)
}

func unmountCommand() *command {
	c := unmounter("CONTAINER", "Unmount containers", containerViewer(), true)
	c.twin = "container unmount"
	return c
}

func unmounter(arg, short string, v viewer, hasLatest bool) *command {
	return &command{
		name: "unmount", aliases: []string{"umount"}, args: arg + " [" + arg + "...]", short: short, max: -1,
		setup: func(f *flagSet) action {
			var all, latest, force bool
			f.boolean(&all, "all", "a", "Unmount all that is mounted in this shell")
			f.boolean(&force, "force", "f", "Also while something uses the mount")
			if hasLatest {
				latestFlag(f, &latest)
			}
			v.every = func(ctx context.Context, e mountEngine) (ids []string, err error) {
				list, err := v.mounted(ctx, e)
				for _, m := range list {
					ids = append(ids, m.ID)
				}
				return ids, err
			}
			return func(ctx context.Context, a *app, args []string) error {
				if !all && !latest && len(args) == 0 {
					c := a.call
					return c.command().usageError(c.words, "%q requires at least 1 argument", c.words)
				}
				args, err := allOf(ctx, a, v, all, latest, args)
				if err != nil {
					return err
				}
				e, err := engineOf[mountEngine](ctx, a)
				if err != nil {
					return err
				}
				return a.each(args, func(ref string) error {
					id, err := v.unmount(ctx, e, ref, force)
					if err == nil {
						a.out.Println(id)
					}
					return err
				})
			}
		},
	}
}
