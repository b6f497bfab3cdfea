// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line: one file per command, each turning its
// arguments into a value of pkg/spec and one call of libpod, and printing the
// result through cmd/proa/cli/output. Commands see flag structs and never the
// library that parses them.
package cli

import (
	"context"
	"fmt"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/spec"
)

// command describes one command. The flags of a command are made only when it
// is called: building all of them would cost more than `ps` does.
type command struct {
	name    string
	aliases []string
	args    string // what follows the options in the usage line
	short   string // one line, no full stop
	long    string // paragraphs for --help and the manual
	// examples are command lines, each with what it does behind two blanks.
	examples []string
	group    string // heading in `proa --help`; empty: "Commands"
	hidden   bool

	// min and max bound the number of arguments; max < 0: no bound.
	min, max int
	// stopAtArg ends the options at the first argument: what follows belongs
	// to the container's process.
	stopAtArg bool
	// runsProcess makes failures exit with 125 instead of 1: the statuses below
	// belong to the container's process.
	runsProcess bool

	// acts tells which containers the command can act on; completion offers no others.
	acts func(lifecycle.State) bool
	// free says that the arguments are the user's own words, whatever the usage line calls
	// them: completion offers none.
	free bool

	// exits are the exit statuses, where they differ from those of others.
	exits []spec.Option

	// setup registers the flags and returns what runs with them.
	setup func(f *flagSet) action
	sub   []*command
	// twin is the full name of the same command elsewhere in the tree
	// ("container run" for "run").
	twin string
}

// action is a command's work, after its flags were parsed.
type action func(ctx context.Context, a *app, args []string) error

// find returns the subcommand called name, by name or alias.
func (c *command) find(name string) *command {
	for _, s := range c.sub {
		if s.name == name {
			return s
		}
		for _, a := range s.aliases {
			if a == name {
				return s
			}
		}
	}
	return nil
}

// as is the same command under another name and with other aliases.
func (c *command) as(name string, aliases ...string) *command {
	d := *c
	d.name, d.aliases, d.group = name, aliases, ""
	return &d
}

// in puts a command under a heading of `proa --help`.
func (c *command) in(group string) *command {
	c.group = group
	return c
}

// exitStatuses are the exit statuses of a command.
func exitStatuses(c *command) []spec.Option {
	switch {
	case c.exits != nil:
		return c.exits
	case c.runsProcess:
		return []spec.Option{
			{Name: "125", About: "Proa itself failed, or did not understand the command line."},
			{Name: "126", About: "The program cannot be executed."},
			{Name: "127", About: "The program was not found."},
			{Name: "128+N", About: "Signal N ended the process, or the command: 137 is SIGKILL, 130 is Ctrl-C."},
			{Name: "Others", About: "Those of the process."},
		}
	}
	return []spec.Option{
		{Name: "0", About: "Everything was done."},
		{Name: "1", About: "Something failed, for at least one of the objects."},
		{Name: "125", About: "An option or its value is wrong, or Proa cannot use its directories."},
		{Name: "130", About: "Ctrl-C ended the command."},
	}
}

// checkArgs compares the number of arguments with what the command takes.
func (c *command) checkArgs(path string, args []string) error {
	n := len(args)
	switch {
	case n >= c.min && (c.max < 0 || n <= c.max):
		return nil
	case c.max == 0:
		return c.usageError(path, "%q accepts no arguments", path)
	case c.min == c.max:
		return c.usageError(path, "%q requires exactly %s", path, plural(c.min, "argument"))
	case n < c.min:
		return c.usageError(path, "%q requires at least %s", path, plural(c.min, "argument"))
	}
	return c.usageError(path, "%q requires at most %s", path, plural(c.max, "argument"))
}

func (c *command) usageError(path, format string, args ...any) error {
	e := &usageError{path: path, usage: usageLine(path, c), text: fmt.Sprintf(format, args...), code: 1}
	if c.runsProcess {
		e.code = 125
	}
	return e
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// usageError is a command line that cannot be understood.
type usageError struct {
	path  string // "proa run"
	usage string // the usage line; empty: not shown
	text  string
	code  int
}

func (e *usageError) Error() string { return e.text }
