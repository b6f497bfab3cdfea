// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// pruneFlags are the flags of all prune commands.
type pruneFlags struct {
	all, force bool
	filters    []string
	partial    bool // another command adds up what is freed
}

func (o *pruneFlags) registerFilters(f *flagSet, known []spec.Option) {
	filterFlag(f, &o.filters, "", "Remove those that match", known)
}

// read parses the filters of a command that knows these. A filter of the listing
// beside it ("ps --filter status=...") is refused: taken for nothing it would
// remove too much.
func (o *pruneFlags) read(known []spec.Option) (map[string][]string, error) {
	filters, err := parseFilters(o.filters)
	if err != nil {
		return nil, err
	}
	for key := range filters {
		if !spec.HasOption(known, key) {
			return nil, spec.UnknownFilter(key, known)
		}
	}
	if until := filters["until"]; len(until) > 1 {
		return nil, errs.WithHint(errs.New(errs.Invalid, "more than one until filter specified"),
			"keep --filter until=%s", until[0])
	}
	_, err = until(filters)
	return filters, err
}

// until is the time of the filter of this name, zero without one.
func until(filters map[string][]string) (time.Time, error) {
	if len(filters["until"]) == 0 {
		return time.Time{}, nil
	}
	v := filters["until"][0]
	t, err := spec.ParseWhen(time.Now(), v)
	if err != nil {
		err = errs.WithHint(errs.New(errs.Invalid, "invalid filter 'until=%s'", v), "%s", errs.HintOf(err))
	}
	return t, err
}

// told reports whether err is nil or was printed for each object already.
func told(err error) bool {
	var exit *errs.ExitError
	return err == nil || errors.As(err, &exit)
}

// takeFlag moves a filter that is a switch out of filters; the last value counts.
func takeFlag(filters map[string][]string, key string, set func(bool)) error {
	values := filters[key]
	if len(values) == 0 {
		return nil
	}
	delete(filters, key)
	switch v := values[len(values)-1]; v {
	case "true", "1":
		set(true)
	case "false", "0":
		set(false)
	default:
		return errs.WithHint(errs.New(errs.Invalid, "invalid filter '%s=%s'", key, v),
			"write --filter %s=true, or false", key)
	}
	return nil
}

// pruneEach removes objects and prints their names below a heading. One that came
// into use meanwhile stays.
func pruneEach(a *app, heading string, names []string, sizes map[string]int64, remove func(name string) error,
) (freed int64, err error) {
	said := false
	err = a.each(names, func(name string) error {
		err := remove(name)
		if errs.Is(err, errs.State) || errs.Is(err, errs.InUse) {
			return nil
		}
		if err != nil {
			return err
		}
		if !said {
			a.out.Println(heading)
			said = true
		}
		freed += sizes[name]
		a.out.Println(name)
		return nil
	})
	if said {
		a.out.Println("")
	}
	return freed, err
}
