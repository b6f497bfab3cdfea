// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// filter decides which containers a list shows, with Docker's meanings.
type filter struct {
	values        map[string][]string
	names         []*regexp.Regexp
	exited        []int
	ancestors     map[string]bool // image ids
	ports, expose []portRange
	before, since time.Time
	until         []time.Time // created before one of them
}

type portRange struct {
	lo, hi uint64
	proto  string
}

func newFilter(values map[string][]string) (*filter, error) {
	f := &filter{values: values}
	for key, list := range values {
		if !spec.HasOption(ContainerFilters, key) {
			return nil, spec.UnknownFilter(key, ContainerFilters)
		}
		for _, v := range list {
			if err := f.add(key, v); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

func (f *filter) add(key, v string) error {
	bad := errs.New(errs.Invalid, "invalid filter '%s=%s'", key, v)
	switch key {
	case "name":
		re, err := regexp.Compile(v)
		if err != nil {
			return bad
		}
		f.names = append(f.names, re)
	case "exited":
		n, err := strconv.Atoi(v)
		if err != nil {
			return bad
		}
		f.exited = append(f.exited, n)
	case "status":
		if !lifecycle.State(v).Valid() && v != "stopped" {
			return errs.WithHint(bad, "states are %s", strings.Join(containerStates, ", "))
		}
	case "health":
		if !slices.Contains(healthWords, v) {
			return errs.WithHint(bad, "words are %s", strings.Join(healthWords, ", "))
		}
	case "is-task":
		if _, err := strconv.ParseBool(v); err != nil {
			return bad
		}
	case "until":
		t, err := spec.ParseWhen(time.Now(), v)
		if err != nil {
			return errs.WithHint(bad, "%s", errs.HintOf(err))
		}
		f.until = append(f.until, t)
	case "publish", "expose":
		r, err := parsePortFilter(v)
		if err != nil {
			return errs.WithHint(bad, "write PORT[/PROTOCOL] or FIRST-LAST[/PROTOCOL]")
		}
		if key == "publish" {
			f.ports = append(f.ports, r)
		} else {
			f.expose = append(f.expose, r)
		}
	}
	return nil
}

func parsePortFilter(v string) (r portRange, err error) {
	num, proto, ok := strings.Cut(v, "/")
	r.proto = "tcp"
	if ok {
		r.proto = proto
	}
	first, last, isRange := strings.Cut(num, "-")
	if r.lo, err = strconv.ParseUint(first, 10, 16); err != nil {
		return r, err
	}
	r.hi = r.lo
	if isRange {
		r.hi, err = strconv.ParseUint(last, 10, 16)
	}
	return r, err
}

// anyState reports that the filter names states of its own, so that a list is
// not limited to what runs.
func (f *filter) anyState() bool { return len(f.values["status"]) > 0 || len(f.exited) > 0 }

// resolveAncestors finds the images whose containers are wanted: the image
// itself, and what was built on top of it.
func (e *Engine) resolveAncestors(f *filter) error {
	if len(f.values["ancestor"]) == 0 {
		return nil
	}
	f.ancestors = map[string]bool{}
	all, err := e.images.List()
	if err != nil {
		return err
	}
	for _, ref := range f.values["ancestor"] {
		img, err := e.images.Resolve(ref)
		if errs.Is(err, errs.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		f.ancestors[img.ID] = true
		for _, other := range all {
			full, err := e.images.Resolve(other.ID)
			if err != nil || len(img.DiffIDs) == 0 || len(full.DiffIDs) < len(img.DiffIDs) {
				continue
			}
			if slices.Equal(full.DiffIDs[:len(img.DiffIDs)], img.DiffIDs) {
				f.ancestors[full.ID] = true
			}
		}
	}
	return nil
}

// resolveTimes turns the containers of before and since into times.
func (f *filter) resolveTimes(ctx context.Context, e *Engine) error {
	for _, ref := range f.values["before"] {
		c, err := e.load(ctx, ref)
		if err != nil {
			return err
		}
		if f.before.IsZero() || c.Created.Before(f.before) {
			f.before = c.Created
		}
	}
	for _, ref := range f.values["since"] {
		c, err := e.load(ctx, ref)
		if err != nil {
			return err
		}
		if c.Created.After(f.since) {
			f.since = c.Created
		}
	}
	return nil
}

// match reports whether a container is wanted.
func (f *filter) match(c *container, s *Summary) bool {
	if len(f.values) == 0 {
		return true
	}
	any := func(key string, ok func(v string) bool) bool {
		list := f.values[key]
		return len(list) == 0 || slices.ContainsFunc(list, ok)
	}
	return any("id", func(v string) bool { return strings.HasPrefix(c.ID, v) }) &&
		(len(f.names) == 0 || slices.ContainsFunc(f.names, func(re *regexp.Regexp) bool {
			return re.MatchString(c.Name) || re.MatchString("/"+c.Name)
		})) &&
		f.matchLabels(s.Labels) &&
		any("status", func(v string) bool { return v == string(s.State) || v == "stopped" && s.State == lifecycle.Exited }) &&
		(len(f.exited) == 0 || s.State == lifecycle.Exited && slices.Contains(f.exited, s.ExitCode)) &&
		any("ancestor", func(string) bool { return f.ancestors[c.ImageID] }) &&
		any("network", func(v string) bool { return slices.Contains(s.Networks, v) }) &&
		any("health", func(v string) bool { return v == s.Health || v == "none" && s.Health == "" }) &&
		any("is-task", func(v string) bool { b, _ := strconv.ParseBool(v); return !b }) &&
		f.matchPorts(c, s) && f.matchUntil(c.Created) &&
		(f.before.IsZero() || c.Created.Before(f.before)) && (f.since.IsZero() || c.Created.After(f.since))
}

// matchLabels reports whether all wanted labels are there, and no excluded one.
func (f *filter) matchLabels(labels map[string]string) bool {
	has := func(want string) bool {
		k, v, hasValue := strings.Cut(want, "=")
		got, ok := labels[k]
		return ok && (!hasValue || got == v)
	}
	for _, want := range f.values["label"] {
		if !has(want) {
			return false
		}
	}
	return !slices.ContainsFunc(f.values["label!"], has)
}

func (f *filter) matchUntil(created time.Time) bool {
	return len(f.until) == 0 || slices.ContainsFunc(f.until, created.Before)
}

// matchVolumes goes by a mount's name, source or target, or SOURCE:TARGET. The
// targets are not in the row that lists read, so this comes last.
func (e *Engine) matchVolumes(f *filter, c *container) (bool, error) {
	wanted := f.values["volume"]
	if len(wanted) == 0 {
		return true, nil
	}
	db, err := e.db()
	if err != nil {
		return false, err
	}
	body, err := db.Body(c.ID)
	if errs.Is(err, errs.NotFound) {
		return false, nil // removed meanwhile
	}
	if err != nil {
		return false, err
	}
	for _, m := range body.Spec.Mounts {
		p := e.mountPoint(m)
		for _, v := range wanted {
			if p.Source == "" {
				if v == p.Destination {
					return true, nil
				}
				continue
			}
			for _, name := range []string{p.Name, p.Source} {
				if name != "" && (v == name || v == name+":"+p.Destination) || v == p.Destination {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

func (f *filter) matchPorts(c *container, s *Summary) bool {
	published := func(r portRange) bool {
		for _, p := range s.Ports {
			if n := uint64(p.HostPort); n >= r.lo && n <= r.hi && p.Protocol == r.proto {
				return true
			}
			if n := uint64(p.ContainerPort); n >= r.lo && n <= r.hi && p.Protocol == r.proto {
				return true
			}
		}
		return false
	}
	exposed := func(r portRange) bool {
		for _, x := range c.Exposed {
			e, ok := spec.ParsePortRange(x)
			if ok && uint64(e.First) <= r.hi && uint64(e.Last) >= r.lo && e.Protocol == r.proto {
				return true
			}
		}
		for _, p := range c.Ports {
			if n := uint64(p.ContainerPort); n >= r.lo && n <= r.hi && (p.Protocol == r.proto || p.Protocol == "" && r.proto == "tcp") {
				return true
			}
		}
		return false
	}
	return (len(f.ports) == 0 || slices.ContainsFunc(f.ports, published)) &&
		(len(f.expose) == 0 || slices.ContainsFunc(f.expose, exposed))
}
