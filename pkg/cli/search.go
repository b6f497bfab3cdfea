// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strconv"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

type searchFlags struct {
	libpod.SearchOptions
	registry registryFlags
	filters  []string
	format   string
	noTrunc  bool
}

func searchCommand() *command {
	return &command{
		examples: []string{
			`proa search --limit 5 nginx`,
			`proa search --list-tags registry.example.com/me/web   the tags of a repository`,
		},
		name: "search", args: "TERM", short: "Search a registry for images", twin: "image search", min: 1, max: 1,
		setup: func(f *flagSet) action {
			var o searchFlags
			o.registry.register(f)
			filterFlag(f, &o.filters, "f", "Filter output based on conditions provided", searchFilters)
			formatFlag(f, &o.format, output.SearchHeader())
			f.integer(&o.Limit, "limit", "", "Max number of search results")
			f.boolean(&o.ListTags, "list-tags", "", "List the tags of the repository TERM")
			f.boolean(&o.noTrunc, "no-trunc", "", "Don't truncate output")
			f.refuse("it is not implemented", "omit it", "compatible!")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args[0]) }
		},
	}
}

func (o *searchFlags) run(ctx context.Context, a *app, term string) error {
	if o.Limit < 0 {
		return errs.WithHint(errs.New(errs.Invalid, "invalid limit: %d", o.Limit), "write a number above 0")
	}
	keep, err := searchFilter(o.filters)
	if err != nil {
		return err
	}
	if o.RemoteOptions, err = o.registry.options(a); err != nil {
		return err
	}
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	found, err := e.Search(ctx, term, o.SearchOptions)
	if err != nil {
		return err
	}
	var rows []any
	for i := range found {
		if keep(&found[i]) {
			rows = append(rows, output.Search(&found[i], o.noTrunc))
		}
	}
	columns := []string{"Name", "Description", "StarCount", "IsOfficial"}
	if o.ListTags {
		columns = []string{"Name"}
	}
	return a.out.List(output.List{Header: output.SearchHeader(), Columns: columns, Format: o.format}, rows)
}

var searchFilters = []spec.Option{
	{Name: "is-official", Arg: "true|false", Values: []string{"true", "false"}, About: "It is an image of Docker's own"},
	{Name: "stars", Arg: "NUMBER", About: "It has at least this number of stars"},
}

func searchFilter(values []string) (func(*libpod.SearchResult) bool, error) {
	filters, err := parseFilters(values)
	if err != nil {
		return nil, err
	}
	stars, official := 0, ""
	for k, list := range filters {
		v := list[len(list)-1]
		switch k {
		case "stars":
			if stars, err = strconv.Atoi(v); err != nil {
				return nil, errs.New(errs.Invalid, "invalid filter 'stars=%s'", v)
			}
		case "is-official":
			b, err := strconv.ParseBool(v)
			if err != nil {
				return nil, errs.New(errs.Invalid, "invalid filter 'is-official=%s'", v)
			}
			official = strconv.FormatBool(b)
		default:
			return nil, spec.UnknownFilter(k, searchFilters)
		}
	}
	return func(r *libpod.SearchResult) bool {
		return r.Stars >= stars && (official == "" || official == strconv.FormatBool(r.Official))
	}, nil
}
