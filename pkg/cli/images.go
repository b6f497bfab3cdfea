// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

type imagesFlags struct {
	all, digests, noTrunc, quiet, noHeading bool
	filters                                 []string
	format, sort                            string
}

var imageSorts = []string{"created", "id", "repository", "size", "tag"}

func parseImageSort(s string) (string, error) {
	if !slices.Contains(imageSorts, s) {
		return "", errs.New(errs.Invalid, "write %s", strings.Join(imageSorts, ", "))
	}
	return s, nil
}

func imagesCommand() *command {
	return &command{
		examples: []string{
			`proa images debian             of one repository`,
			`proa images -f dangling=true   without a name`,
			`proa images --format '{{.Repository}}:{{.Tag}} {{.Size}}'`,
		},
		name: "images", args: "[REPOSITORY[:TAG]]", short: "List images", max: 1, twin: "image ls",
		setup: func(f *flagSet) action {
			var o imagesFlags
			f.boolean(&o.all, "all", "a", "Show all images (default hides intermediate images)")
			f.boolean(&o.digests, "digests", "", "Show digests")
			filterFlag(f, &o.filters, "f", "Filter output based on conditions provided", libpod.ImageFilters)
			formatFlag(f, &o.format, output.ImageHeader())
			f.boolean(&o.noTrunc, "no-trunc", "", "Don't truncate output")
			f.boolean(&o.quiet, "quiet", "q", "Only show image IDs")
			f.alias(f.boolean(&o.noHeading, "noheading", "n", "Do not print the titles of the columns"), "no-heading")
			parsed(f, &o.sort, "sort", "", "string", "Sort by what", parseImageSort).oneOf(imageSorts...).def = "created"
			f.refuse("the sizes of compressed layers are not kept", "proa image tree IMAGE", "tree!")
			f.refuse("the names that an image had before are not kept", "omit it", "history!")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *imagesFlags) run(ctx context.Context, a *app, args []string) error {
	filters, err := parseFilters(o.filters)
	if err != nil {
		return err
	}
	lo := libpod.ImageListOptions{All: o.all, Filters: filters}
	if len(args) > 0 {
		lo.Ref = args[0]
	}
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	list, err := e.Images(ctx, lo)
	if err != nil {
		return err
	}
	o.sortImages(list)
	now := time.Now()
	var rows []any
	for i := range list {
		r := output.Image(&list[i], now, o.noTrunc)
		if o.quiet {
			// One image is one line: the ids often become the arguments of rmi.
			r = r[:1]
		}
		rows = append(rows, r...)
	}
	output.SortImages(rows, o.sort)
	l := output.List{Header: output.ImageHeader(), Columns: output.ImageColumns(o.digests), Format: o.format, NoHeading: o.noHeading}
	if o.quiet {
		l.Quiet = "ID"
	}
	a.rootsOwn(len(rows))
	return a.out.List(l, rows)
}

// sortImages orders images by what is not a name. They come the newest first.
func (o *imagesFlags) sortImages(list []libpod.ImageSummary) {
	switch o.sort {
	case "id":
		slices.SortStableFunc(list, func(a, b libpod.ImageSummary) int { return strings.Compare(a.ID, b.ID) })
	case "size":
		slices.SortStableFunc(list, func(a, b libpod.ImageSummary) int { return cmp.Compare(a.Size, b.Size) })
	}
}
