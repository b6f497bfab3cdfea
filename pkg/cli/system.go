// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// systemEngine is the part of the engine that the commands of the system use.
type systemEngine interface {
	DiskUsage(context.Context) (*libpod.Disk, error)
	Check(context.Context, libpod.CheckOptions) ([]libpod.CheckFinding, error)
	ForgetHost(ctx context.Context, host string) (names []string, err error)
	Info(context.Context) (*libpod.Info, error)
	Unshare(ctx context.Context, argv []string) error
}

func systemCommand() *command {
	return &command{name: "system", short: "Manage Proa", sub: []*command{systemCheckCommand(), systemDiskCommand(), infoCommand(), systemPruneCommand()}}
}

func systemDiskCommand() *command {
	return &command{
		examples: []string{
			`proa system df -v   each image, container and volume`,
		},
		name: "df", args: "", short: "Show disk usage",
		setup: func(f *flagSet) action {
			var format string
			var verbose bool
			formatFlag(f, &format, output.DiskHeader())
			f.boolean(&verbose, "verbose", "v", "Show every image, container and volume")
			return func(ctx context.Context, a *app, args []string) error {
				if verbose && format != "" {
					return errs.WithHint(errs.New(errs.Invalid, "--verbose and --format cannot be combined"), "omit one of the two")
				}
				return diskUsage(ctx, a, format, verbose)
			}
		},
	}
}

func diskUsage(ctx context.Context, a *app, format string, verbose bool) error {
	e, err := engineOf[systemEngine](ctx, a)
	if err != nil {
		return err
	}
	d, err := e.DiskUsage(ctx)
	if err != nil {
		return err
	}
	if verbose {
		return diskDetails(a, d)
	}
	rows := []any{output.Disk("Images", d.Images), output.Disk("Containers", d.Containers), output.Disk("Local Volumes", d.Volumes), output.Disk("Build Cache", d.BuildCache)}
	return a.out.List(output.List{Header: output.DiskHeader(), Columns: []string{"Type", "TotalCount", "Active", "Size", "Reclaimable"}, Format: format}, rows)
}

func diskDetails(a *app, d *libpod.Disk) error {
	now := time.Now()
	var images, containers, volumes [][]string
	for _, it := range d.Items {
		switch {
		case it.Image != nil:
			repo, tag := "<none>", "<none>"
			if len(it.Image.Names) > 0 {
				repo, tag = output.SplitTag(it.Image.Names[0])
			}
			images = append(images, []string{repo, tag, spec.ShortID(it.Image.ID), output.Ago(now, it.Image.Created), output.Size(it.Image.Size),
				output.Size(it.Shared), output.Size(it.Unique), strconv.Itoa(it.Image.Containers)})
		case it.Container != nil:
			r := output.Container(it.Container, now, false)
			containers = append(containers, []string{r.ID, r.Image, r.Command, strconv.Itoa(len(it.Container.Mounts)), output.Size(it.Container.SizeRw), r.RunningFor, r.Status, r.Names})
		default:
			volumes = append(volumes, []string{it.Volume.Name, strconv.Itoa(len(it.Volume.Containers)), output.Size(it.Size)})
		}
	}
	for _, t := range []struct {
		what   string
		titles []string
		rows   [][]string
	}{
		{"Images space usage:", []string{"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"}, images},
		{"Containers space usage:", []string{"CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"}, containers},
		{"Local Volumes space usage:", []string{"VOLUME NAME", "LINKS", "SIZE"}, volumes},
	} {
		a.out.Println(t.what + "\n")
		if err := a.out.Table(t.titles, t.rows); err != nil {
			return err
		}
		a.out.Println("")
	}
	a.out.Println("Build cache usage: " + output.Size(d.BuildCache.Size))
	return nil
}

func systemCheckCommand() *command {
	return &command{
		name: "check", args: "", short: "Verify stored images, and that volumes are known",
		long: "Each layer is read and compared with its digest. Volumes and containers are listed whose record was lost,\n" +
			"with the database for instance. --repair makes the files of such a container a volume. It fails where\n" +
			"something is found and stays so.",
		setup: func(f *flagSet) action {
			var o libpod.CheckOptions
			var host string
			f.text(&host, "forget-host", "",
				"Give up the containers of another host that shares this data directory and will not come back; check nothing")
			f.boolean(&o.Quick, "quick", "q", "Look at the records only, read no layer")
			f.boolean(&o.Repair, "repair", "r",
				"Remove what is broken and not in use: it can be pulled again; give volumes their record")
			f.refuse("broken images are removed by --repair unless containers use them", "remove the container first", "force|f!", "max|m")
			return func(ctx context.Context, a *app, args []string) error {
				if host != "" {
					return forgetHost(ctx, a, host)
				}
				return systemCheck(ctx, a, o)
			}
		},
	}
}

func forgetHost(ctx context.Context, a *app, host string) error {
	e, err := engineOf[systemEngine](ctx, a)
	if err != nil {
		return err
	}
	names, err := e.ForgetHost(ctx, host)
	for _, name := range names {
		a.out.Println("container " + name + ": given up")
	}
	return err
}

func systemCheck(ctx context.Context, a *app, o libpod.CheckOptions) error {
	e, err := engineOf[systemEngine](ctx, a)
	if err != nil {
		return err
	}
	list, err := e.Check(ctx, o)
	if err != nil {
		return err
	}
	broken, lost := 0, 0
	for _, f := range list {
		count, line := &broken, "image "+spec.ShortID(f.Image)
		switch {
		case f.Artifact != "":
			line = "artifact " + spec.ShortID(f.Artifact)
		case f.Volume != "":
			count, line = &lost, "volume "+f.Volume+" ("+output.Size(f.Size)+")"
		case f.Container != "":
			count, line = &lost, "container "+spec.ShortID(f.Container)+" ("+output.Size(f.Size)+")"
		}
		if f.Name != "" {
			line += " (" + f.Name + ")"
		}
		if f.Layer != "" {
			line += ", layer " + spec.ShortID(f.Layer)
		}
		line += ": " + f.Problem
		if f.Repaired {
			line += "; " + cmp.Or(f.Done, "removed")
		} else {
			*count++
		}
		a.out.Println(line)
	}
	switch {
	case broken+lost == 0:
		if len(list) == 0 && o.Quick {
			a.out.Println("The records of images, artifacts, volumes and containers are in order; no layer was read.")
		} else if len(list) == 0 {
			a.out.Println("Images, artifacts, volumes and containers are in order.")
		}
		return nil
	case broken == 0 && lost == 1:
		err = errs.New(errs.Corrupt, "1 volume or container has no record")
	case broken == 0:
		err = errs.New(errs.Corrupt, "%d volumes and containers have no record", lost)
	case broken == 1:
		err = errs.New(errs.Corrupt, "1 image or artifact is damaged")
	default:
		err = errs.New(errs.Corrupt, "%d images and artifacts are damaged", broken)
	}
	switch {
	case !o.Repair:
		return errs.WithHint(err, "proa system check --repair")
	case broken == 0:
		return errs.WithHint(err, "end what runs, then run it again")
	}
	return errs.WithHint(err, "remove the containers that use it, then run it again")
}

type systemPruneFlags struct {
	pruneFlags
	volumesToo bool
}

func systemPruneCommand() *command {
	return &command{
		examples: []string{
			`proa system prune                what nothing uses`,
			`proa system prune -a --volumes   all images without a container and anonymous volumes, too`,
		},
		name: "prune", args: "", short: "Remove unused data",
		setup: func(f *flagSet) action {
			var o systemPruneFlags
			f.boolean(&o.all, "all", "a", "Remove all unused images not just dangling ones")
			f.boolean(&o.force, "force", "f", "Do not prompt for confirmation")
			o.registerFilters(f, containerPruneFilters)
			f.boolean(&o.volumesToo, "volumes", "", "Prune anonymous volumes")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a) }
		},
	}
}

func (o *systemPruneFlags) warning() string {
	s := "This will remove:\n  - all stopped containers\n"
	if o.volumesToo {
		s += "  - all anonymous volumes not used by at least one container\n"
	}
	if o.all {
		return s + "  - all images without at least one container associated to them\n  - all build cache\n"
	}
	return s + "  - all dangling images\n  - unused build cache\n"
}

func (o *systemPruneFlags) run(ctx context.Context, a *app) error {
	filters, err := o.read(containerPruneFilters)
	if err != nil {
		return err
	}
	if o.volumesToo && len(filters["until"]) > 0 {
		return errs.WithHint(errs.New(errs.Invalid, `the "until" filter is not supported with "--volumes"`),
			"omit --volumes, then: proa volume prune --filter until=%s", filters["until"][0])
	}
	if yes, err := a.confirm(ctx, o.force, o.warning()); !yes {
		return err
	}
	steps := []func() (int64, error){func() (int64, error) { return pruneStopped(ctx, a, filters) }}
	if o.volumesToo {
		steps = append(steps, func() (int64, error) { return pruneVolumes(ctx, a, false, filters) })
	}
	// Before the images: what the cache stands on can only go without it.
	steps = append(steps, func() (int64, error) { return pruneBuildCache(ctx, a, o.all, o.filters) },
		func() (int64, error) {
			return pruneImages(ctx, a, libpod.PruneImagesOptions{All: o.all, Filters: filters})
		})
	var freed int64
	var failed error
	for _, step := range steps {
		n, err := step()
		freed += n
		var told *errs.ExitError
		switch {
		case errors.Is(err, context.Canceled):
			return err
		case err != nil:
			// The others may make room all the same.
			if !errors.As(err, &told) {
				a.out.Error(err)
			}
			failed = &errs.ExitError{Code: 1}
		}
	}
	a.out.Println("Total reclaimed space: " + output.Size(freed))
	return failed
}
