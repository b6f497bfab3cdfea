// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/spec"
)

func imagePruneCommand() *command {
	return &command{
		examples: []string{
			`proa image prune                          images without a name`,
			`proa image prune -a --filter until=240h   all that no container uses, older than ten days`,
		},
		name: "prune", args: "", short: "Remove unused images",
		setup: func(f *flagSet) action {
			var o pruneFlags
			f.boolean(&o.all, "all", "a", "Remove all unused images, not just dangling ones")
			f.boolean(&o.force, "force", "f", "Do not prompt for confirmation")
			o.registerFilters(f, imagePruneFilters)
			f.refuse("the build cache is another thing", "proa builder prune", "build-cache!")
			f.refuse("there are no containers of other programs in the store", "omit it", "external!")
			return func(ctx context.Context, a *app, args []string) error { return pruneUnusedImages(ctx, a, &o) }
		},
	}
}

// imagePruneFilters are Docker's and podman's.
var imagePruneFilters = spec.SomeOptions(libpod.ImageFilters, "containers", "dangling", "id", "intermediate", "label",
	"label!", "readonly", "reference", "until")

func pruneUnusedImages(ctx context.Context, a *app, o *pruneFlags) error {
	filters, err := o.read(imagePruneFilters)
	if err != nil {
		return err
	}
	// Docker's way to write --all.
	if err := takeFlag(filters, "dangling", func(v bool) { o.all = o.all || !v }); err != nil {
		return err
	}
	what := "This will remove all dangling images."
	if o.all {
		what = "This will remove all images without at least one container associated to them."
	}
	if yes, err := a.confirm(ctx, o.force, what); !yes {
		return err
	}
	freed, err := pruneImages(ctx, a, libpod.PruneImagesOptions{All: o.all, Filters: filters})
	if err == nil {
		a.out.Println("Total reclaimed space: " + output.Size(freed))
	}
	return err
}

// pruneImages prints what it removed, as Docker does.
func pruneImages(ctx context.Context, a *app, o libpod.PruneImagesOptions) (freed int64, err error) {
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return 0, err
	}
	done, err := e.PruneImages(ctx, o)
	if err != nil {
		return 0, err
	}
	if len(done.Untagged)+len(done.Deleted) > 0 {
		a.out.Println("Deleted Images:")
		for _, n := range done.Untagged {
			a.out.Println("untagged: " + n)
		}
		for _, id := range done.Deleted {
			a.out.Println("deleted: " + id)
		}
		a.out.Println("")
	}
	return done.Size, nil
}
