// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"sync"

	"github.com/sirupsen/logrus"
	ucli "github.com/urfave/cli/v2"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

// Std is what a command sees of the process that it runs in.
type Std struct {
	Name     string // that the program was called by: a link may call it docker
	In       io.Reader
	Out, Err io.Writer
	Dir      string // relative paths start here; empty: nobody can tell where that is
	Lookup   func(string) (string, bool)
}

// Process is the Std of this process.
func Process() Std {
	// In a directory that was deleted this fails. Commands that need no path go on.
	dir, _ := os.Getwd()
	return Std{Name: filepath.Base(os.Args[0]), In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Dir: dir, Lookup: os.LookupEnv}
}

// opener makes the engine, of which each command asks the part that it uses.
type opener func(context.Context, *app) (any, error)

// app is one call of proa.
type app struct {
	std     Std
	out     *output.Printer
	globals globals
	opener  opener
	eng     any // what opener returned
	root    *command
	call    *call
}

// globals are the flags before the command.
type globals struct {
	logLevel string
	debug    bool
	dataDir  string
	runDir   string
	version  bool
}

// run runs the command line args (without the program's name) with the commands
// below root, prints the error, and returns the status to exit with.
func run(ctx context.Context, args []string, std Std, root *command, open opener) int {
	a := &app{std: std, out: output.New(std.Out, std.Err), opener: open, root: root}
	err := a.dispatch(ctx, args)
	// The engine is not closed: everything is committed, and SQLite would use
	// the occasion for two fsyncs.
	if ferr := a.out.Flush(); err == nil {
		err = ferr
	}
	return a.report(ctx, err)
}

func (a *app) dispatch(ctx context.Context, args []string) error {
	gf := globalFlags(&a.globals)
	c, err := understand(a.root, gf, args)
	if err != nil {
		return err
	}
	a.call = c
	if c.help {
		a.out.Print(helpText(c, gf, output.Width(a.std.Out)))
		return nil
	}
	return a.execute(ctx, c, gf)
}

// execute hands the canonical command line to urfave/cli, with a tree that
// holds only the command called.
func (a *app) execute(ctx context.Context, c *call, gf *flagSet) error {
	keep := func(_ *ucli.Context, err error, _ bool) error { return firstFlagError(err, gf, c.flags) }
	u := &ucli.App{
		Name: a.root.name, HideHelp: true, HideVersion: true, Writer: a.std.Out, ErrWriter: a.std.Err,
		Flags: ucliFlags(gf), ExitErrHandler: func(*ucli.Context, error) {}, OnUsageError: keep,
	}
	at := &u.Commands
	for i, cmd := range c.path[1:] {
		leaf := &ucli.Command{Name: cmd.name, HideHelp: true, OnUsageError: keep}
		if i == len(c.path)-2 {
			leaf.Flags = ucliFlags(c.flags)
			leaf.Action = func(uc *ucli.Context) error {
				if err := a.applyGlobals(); err != nil {
					return err
				}
				return c.run(uc.Context, a, uc.Args().Slice())
			}
		}
		*at = []*ucli.Command{leaf}
		at = &leaf.Subcommands
	}
	if len(c.path) == 1 {
		u.Action = func(uc *ucli.Context) error { return a.rootAction(gf) }
	}
	return u.RunContext(ctx, append([]string{a.root.name}, c.argv...))
}

func (a *app) rootAction(gf *flagSet) error {
	if a.globals.version {
		a.out.Print(versionLine())
		return nil
	}
	a.out.Print(helpText(a.call, gf, output.Width(a.std.Out)))
	return nil
}

// versionLine is what --version prints.
func versionLine() string {
	v := new(libpod.Engine).Version()
	return fmt.Sprintf("Proa version %s, build %s\n", v.Version, shortCommit(v.Commit))
}

func shortCommit(c string) string {
	if c == "" {
		return "0000000"
	}
	return c[:min(len(c), 7)]
}

// ucliFlags are the flags on the command line: the library compares each flag
// with each other, which took 0.7 ms for all those of run.
func ucliFlags(f *flagSet) []ucli.Flag {
	var list []ucli.Flag
	for _, d := range f.list {
		if d.given {
			list = append(list, d)
		}
	}
	return list
}

// statusError is an error with an exit status of its own.
type statusError struct {
	err  error
	code int
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// firstFlagError finds the error behind the text that the flag package made
// of it.
func firstFlagError(err error, sets ...*flagSet) error {
	for _, s := range sets {
		for _, d := range s.list {
			if d.err != nil {
				return &statusError{d.err, 125}
			}
		}
	}
	return err
}

func globalFlags(g *globals) *flagSet {
	f := &flagSet{}
	f.boolean(&g.debug, "debug", "D", "Print what the libraries do, the same as --log-level debug")
	f.text(&g.logLevel, "log-level", "l", "What the libraries print").oneOf("debug", "info", "warn", "error", "fatal").def = "error"
	f.alias(f.text(&g.dataDir, "data-dir", "", "Directory of images, containers and volumes").dir(), "root")
	f.alias(f.text(&g.runDir, "run-dir", "", "Directory of locks and sockets, on a tmpfs").dir(), "runroot")
	f.boolean(&g.version, "version", "v", "Print the version and quit")
	const noDaemon = "there is no daemon to connect to"
	f.refuse(noDaemon, "run proa on the machine itself, for example over ssh", "context|c", "host|H", "connection", "url", "remote|r!", "identity", "ssh",
		"tls!", "tlscacert", "tlscert", "tlskey", "tlsverify!")
	f.refuse("the only runtime is built in", "omit it", "runtime", "runtime-flag", "conmon", "cgroup-manager", "hooks-dir")
	f.refuse("the driver is chosen by what the kernel offers", "omit it; see \"proa info\"", "storage-driver", "storage-opt", "events-backend", "network-config-dir", "config", "module", "imagestore", "volumepath", "tmpdir", "transient-store!", "syslog!", "out", "cdi-spec-dir")
	return f
}

// applyGlobals makes the global flags hold for this process and, through the
// environment, for those that it starts.
func (a *app) applyGlobals() error {
	level := "error"
	if a.globals.logLevel != "" {
		level = a.globals.logLevel
	}
	if a.globals.debug {
		level = "debug"
	}
	l, err := logrus.ParseLevel(level)
	if err != nil {
		return &usageError{path: a.root.name, text: "unable to parse logging level: " + level, code: 125}
	}
	logrus.SetLevel(l)
	// Such a directory is to be ignored. The library would look for policy.json
	// and registries.conf below the working directory.
	if dir := os.Getenv("XDG_CONFIG_HOME"); !filepath.IsAbs(dir) {
		if err := os.Unsetenv("XDG_CONFIG_HOME"); err != nil {
			return err
		}
	}
	// Units of systemd and "env -i" have no HOME, where data and credentials are.
	if os.Getenv("HOME") == "" {
		if u, err := user.Current(); err == nil && filepath.IsAbs(u.HomeDir) {
			if err := os.Setenv("HOME", u.HomeDir); err != nil {
				return err
			}
		}
	}
	for name, dir := range map[string]string{"PROA_DATA_DIR": a.globals.dataDir, "PROA_RUN_DIR": a.globals.runDir} {
		if dir == "" {
			continue
		}
		dir, err := a.abs(dir)
		if err != nil {
			return err
		}
		if err := os.Setenv(name, dir); err != nil {
			return err
		}
	}
	return nil
}

// report prints err once and returns the status to exit with.
func (a *app) report(ctx context.Context, err error) int {
	if err == nil {
		return 0
	}
	var exit *errs.ExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	if errors.Is(err, context.Canceled) {
		// Whoever pressed Ctrl-C or Ctrl-\ knows why it ended, but the terminal has
		// written "^C" where the prompt is to come.
		status := signalStatus(ctx)
		if (status == 130 || status == 131) && output.IsTerminal(a.std.Err) {
			a.out.Hint("")
		}
		return status
	}
	var usage *usageError
	if errors.As(err, &usage) {
		a.out.Error(err)
		a.out.Hint("See '" + usage.path + " --help'.")
		if usage.usage != "" {
			a.out.Hint("\n" + usage.usage)
		}
		return usage.code
	}
	a.out.Error(err)
	var status *statusError
	switch {
	case errors.As(err, &status):
		return status.code
	case errors.Is(err, libpod.ErrInsisted):
		return 1 // as Docker's
	case a.call != nil && (a.call.runsContainer || a.call.command().runsProcess):
		return errs.ExitCode(err)
	}
	return 1
}

// rootsOwn tells users who list root's empty store with sudo that their own is another.
func (a *app) rootsOwn(listed int) {
	if user, _ := a.std.Lookup("SUDO_USER"); listed == 0 && os.Getuid() == 0 && user != "" && user != "root" {
		a.out.Notice("this list is root's; without sudo you see that of " + user)
	}
}

// each does one thing to several objects: it goes on after an error, prints
// each, and fails in the end. Only a signal ends it at once.
func (a *app) each(refs []string, do func(ref string) error) error {
	var failed error
	for _, ref := range refs {
		err := do(ref)
		switch {
		case err == nil:
		case errors.Is(err, context.Canceled):
			return err
		default:
			a.out.Error(err)
			failed = &errs.ExitError{Code: 1}
		}
	}
	return failed
}

// eachNamed is each that prints the object after success.
func (a *app) eachNamed(refs []string, do func(ref string) error) error {
	return a.each(refs, func(ref string) error {
		err := do(ref)
		if err == nil {
			a.out.Println(ref)
		}
		return err
	})
}

// nothingDone tells sideBySide that an object needed nothing. This is no failure: sideBySide
// prints no name, only the error inside, if there is one.
type nothingDone struct{ told error }

func (n *nothingDone) Error() string { return "nothing was done" }

// maxSideBySide bounds how many objects sideBySide works on at a time.
const maxSideBySide = 50

// sideBySide does one thing to several containers at the same time: stopping
// them takes as long as the slowest, not the sum of their grace periods. do
// returns what is to be printed after success, "" for nothing. The outcomes are
// printed in the order of refs, each as soon as those before it are there.
// Everything else is as in each. On return nothing is under way any more.
func (a *app) sideBySide(refs []string, do func(ref string) (string, error)) error {
	type outcome struct {
		line string
		err  error
	}
	outcomes := make([]chan outcome, len(refs))
	for i := range outcomes {
		outcomes[i] = make(chan outcome, 1)
	}
	enough := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() {
		slots := make(chan struct{}, maxSideBySide)
		for i, ref := range refs {
			select {
			case slots <- struct{}{}:
			case <-enough:
				return
			}
			working.Go(func() {
				line, err := do(ref)
				outcomes[i] <- outcome{line, err}
				<-slots
			})
		}
	})
	// An interrupt ends the loop below before all have answered. Nothing may go on
	// when the command closes what they work with.
	defer working.Wait()
	defer close(enough)
	next := 0
	return a.each(refs, func(string) error {
		o := <-outcomes[next]
		next++
		var nothing *nothingDone
		if errors.As(o.err, &nothing) {
			if nothing.told != nil {
				a.out.Error(nothing.told)
			}
			return nil
		}
		if o.err == nil && o.line != "" {
			a.out.Now(o.line)
		}
		return o.err
	})
}

// sideBySideNamed is sideBySide that prints the object after success.
func (a *app) sideBySideNamed(refs []string, do func(ref string) error) error {
	return a.sideBySide(refs, func(ref string) (string, error) { return ref, do(ref) })
}
