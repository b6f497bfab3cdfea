// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/errs"
)

// selection is how a command names its containers besides listing them.
type selection struct {
	all, latest bool
	filters     []string
	cidfiles    []string
	running     bool // --all means the running ones
	ignore      bool // --ignore: a container or --cidfile that does not exist is no error
	idle        bool // --all and --filter leave running ones out
}

func (s *selection) register(f *flagSet, verb, short string) {
	what := "all containers"
	if s.running {
		what = "all running containers"
	}
	f.boolean(&s.all, "all", short, verb+" "+what)
	f.boolean(&s.latest, "latest", "l", verb+" the latest container")
	filterFlag(f, &s.filters, "", verb+" the containers that match", libpod.ContainerFilters)
	f.texts(&s.cidfiles, "cidfile", "", "Read the container ID from the file").suggests(files)
}

// refs is the list of containers that the flags and arguments name.
func (s *selection) refs(ctx context.Context, a *app, args []string) ([]string, error) {
	refs := args
	for _, name := range s.cidfiles {
		b, err := a.readFile(name)
		if s.ignore && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		refs = append(refs, strings.TrimSpace(string(b)))
	}
	if !s.all && !s.latest && len(s.filters) == 0 {
		if len(refs) == 0 && len(s.cidfiles) == 0 {
			c := a.call
			return nil, c.command().usageError(c.words, "%q requires at least 1 argument", c.words)
		}
		return refs, nil
	}
	if len(refs) == 0 {
		return s.search(ctx, a)
	}
	if s.all || s.latest {
		return nil, errs.WithHint(errs.New(errs.Invalid, "--all and --latest cannot be used with names of containers"),
			"omit one of them")
	}
	return s.filtered(ctx, a, refs)
}

// filtered are those of the named containers that match the filters.
func (s *selection) filtered(ctx context.Context, a *app, refs []string) ([]string, error) {
	ids, err := s.search(ctx, a)
	if err != nil {
		return nil, err
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return nil, err
	}
	var some []string
	for _, ref := range refs {
		d, err := e.Inspect(ctx, ref)
		if s.ignore && errs.Is(err, errs.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if slices.Contains(ids, d.ID) {
			some = append(some, ref)
		}
	}
	return some, nil
}

// orIgnore is err, for sideBySideNamed, of an action on one container.
func (s *selection) orIgnore(err error) error {
	if s.ignore && errs.Is(err, errs.NotFound) {
		return &nothingDone{}
	}
	return err
}

func (s *selection) search(ctx context.Context, a *app) ([]string, error) {
	filters, err := parseFilters(s.filters)
	if err != nil {
		return nil, err
	}
	e, err := engineOf[containerEngine](ctx, a)
	if err != nil {
		return nil, err
	}
	o := libpod.ListOptions{All: true, Filters: filters}
	if s.latest {
		o.Last = 1
	}
	list, err := e.List(ctx, o)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, c := range list {
		live := c.State.Live() || c.State == lifecycle.Paused
		if s.latest || (live || !s.running) && !(live && s.idle) {
			ids = append(ids, c.ID)
		}
	}
	if s.latest && len(ids) == 0 {
		return nil, errs.New(errs.NotFound, "there is no container")
	}
	return ids, nil
}

// latestFlag is -l for the commands that take one container.
func latestFlag(f *flagSet, p *bool) { f.boolean(p, "latest", "l", "Act on the latest container") }

// oneOf is the container of a command that takes one, and the other arguments.
func oneOf(ctx context.Context, a *app, latest bool, args []string) (ref string, rest []string, err error) {
	if !latest {
		if len(args) == 0 {
			c := a.call
			return "", nil, c.command().usageError(c.words, "%q requires at least 1 argument", c.words)
		}
		return args[0], args[1:], nil
	}
	s := selection{latest: true}
	refs, err := s.search(ctx, a)
	if err != nil {
		return "", nil, err
	}
	return refs[0], args, nil
}

// Which containers a command can act on.

func isRunning(s lifecycle.State) bool { return s == lifecycle.Running }
func isPaused(s lifecycle.State) bool  { return s == lifecycle.Paused }
func isDown(s lifecycle.State) bool {
	return s == lifecycle.Created || s == lifecycle.Exited || s == lifecycle.Dead
}
