// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/spec"
)

// volumeEngine is the part of the engine that the commands of volumes use.
type volumeEngine interface {
	VolumeCreate(context.Context, libpod.Volume) (*libpod.Volume, error)
	Volumes(ctx context.Context, filters map[string][]string) ([]libpod.Volume, error)
	VolumeSizes(ctx context.Context, volumes []libpod.Volume) (map[string]int64, error)
	VolumeRemove(ctx context.Context, name string, force bool) error
}

func volumeCommand() *command {
	return &command{
		name: "volume", short: "Manage volumes",
		sub: []*command{volumeCreateCommand(), exister("VOLUME", "Tell by the exit status whether a volume exists", lookupVolume), inspector("volume", "VOLUME [VOLUME...]", "Display detailed information on one or more volumes"),
			volumeListCommand(), volumePruneCommand(), volumeRemoveCommand()},
	}
}

type volumeCreateFlags struct {
	name, driver string
	labels, opts []string
}

func volumeCreateCommand() *command {
	return &command{
		examples: []string{
			`proa volume create pgdata`,
			`proa run -v pgdata:/var/lib/postgresql/data postgres`,
		},
		name: "create", free: true, args: "[VOLUME]", short: "Create a volume", max: 1,
		setup: func(f *flagSet) action {
			o := volumeCreateFlags{driver: "local"}
			f.text(&o.name, "name", "", "Name of the volume").hidden = true
			f.text(&o.driver, "driver", "d", "Specify volume driver name")
			f.texts(&o.labels, "label", "l", "Set metadata for a volume")
			f.texts(&o.opts, "opt", "o", "Set driver specific options").typ = "map"
			f.accept("an existing volume is returned as it is", "ignore!")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *volumeCreateFlags) run(ctx context.Context, a *app, args []string) (err error) {
	v := libpod.Volume{Name: o.name, Driver: o.driver}
	if len(args) > 0 {
		v.Name = args[0]
	}
	if v.Name != "" {
		if err := spec.CheckVolumeName(v.Name); err != nil {
			return err
		}
	}
	if v.Labels, err = spec.ParseLabels(o.labels); err != nil {
		return err
	}
	if v.Options, err = spec.ParseKeyValues("opt", o.opts); err != nil {
		return err
	}
	e, err := engineOf[volumeEngine](ctx, a)
	if err != nil {
		return err
	}
	made, err := e.VolumeCreate(ctx, v)
	if err != nil {
		return err
	}
	a.out.Println(made.Name)
	return nil
}

type volumeListFlags struct {
	quiet, noHeading bool
	filters          []string
	format           string
}

func volumeListCommand() *command {
	return &command{
		examples: []string{
			`proa volume ls -f dangling=true   those that no container uses`,
		},
		name: "ls", aliases: []string{"list"}, args: "", short: "List volumes",
		setup: func(f *flagSet) action {
			var o volumeListFlags
			filterFlag(f, &o.filters, "f", "Filter output based on conditions provided", libpod.VolumeFilters)
			formatFlag(f, &o.format, output.VolumeHeader())
			f.boolean(&o.quiet, "quiet", "q", "Only display volume names")
			f.boolean(&o.noHeading, "noheading", "n", "Do not print the titles of the columns")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a) }
		},
	}
}

func (o *volumeListFlags) run(ctx context.Context, a *app) error {
	filters, err := parseFilters(o.filters)
	if err != nil {
		return err
	}
	e, err := engineOf[volumeEngine](ctx, a)
	if err != nil {
		return err
	}
	list, err := e.Volumes(ctx, filters)
	if err != nil {
		return err
	}
	rows := make([]any, len(list))
	for i := range list {
		rows[i] = output.Volume(&list[i])
	}
	l := output.List{Header: output.VolumeHeader(), Columns: []string{"Driver", "Name"}, Format: o.format, NoHeading: o.noHeading}
	if o.quiet {
		l.Quiet = "Name"
	}
	a.rootsOwn(len(rows))
	return a.out.List(l, rows)
}

func volumeRemoveCommand() *command {
	return &command{
		name: "rm", aliases: []string{"remove"}, args: "VOLUME [VOLUME...]", short: "Remove one or more volumes", max: -1,
		setup: func(f *flagSet) action {
			var force, all bool
			f.boolean(&force, "force", "f", "Do not fail where a volume does not exist")
			f.boolean(&all, "all", "a", "Remove all volumes")
			return withEngine(func(ctx context.Context, a *app, e volumeEngine, args []string) error {
				if all {
					list, err := e.Volumes(ctx, nil)
					if err != nil {
						return err
					}
					for _, v := range list {
						args = append(args, v.Name)
					}
				} else if len(args) == 0 {
					return a.call.command().usageError(a.call.words, "%q requires at least 1 argument", a.call.words)
				}
				return a.eachNamed(args, func(name string) error { return e.VolumeRemove(ctx, name, force) })
			})
		},
	}
}
