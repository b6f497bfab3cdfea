// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/proa-containers/proa/pkg/names"
)

// call is an understood command line.
type call struct {
	path  []*command // from the root to the command
	words string     // "proa container run"
	flags *flagSet   // of the command
	run   action
	argv  []string // canonical: every flag as --name=value, then "--" and the arguments
	help  bool
	// runsContainer is runsProcess, decided by the flags (start -a).
	runsContainer bool
}

func (c *call) command() *command { return c.path[len(c.path)-1] }

// understand walks the command tree along args and rewrites them into the one
// form that the flag library reads: urfave/cli knows neither "-itd", "-p80:80"
// nor options after arguments, and its messages are not the ones that Docker's
// users know. The flags of the root are in globals.
func understand(root *command, globals *flagSet, args []string) (*call, error) {
	c := &call{path: []*command{root}, words: root.name, flags: globals}
	g := grammar{cmd: root, words: root.name, flags: globals, stopAtArg: true}
	rest, err := g.parse(args)
	if err != nil {
		return nil, err
	}
	c.argv = append(c.argv, g.out...)
	c.help = g.help
	if d := globals.named["version"]; d != nil && d.given && !c.help {
		return c, nil // whatever follows: podman-compose asks so
	}
	for len(rest) > 0 && len(c.command().sub) > 0 {
		cmd := c.command().find(rest[0])
		switch {
		case cmd != nil:
		case rest[0] == "help":
			c.help, rest = true, rest[1:]
			continue
		case strings.HasPrefix(rest[0], "-"):
			return nil, &usageError{path: c.words, text: "unknown flag: " + rest[0], code: 125}
		default:
			return nil, unknownCommand(c, rest[0])
		}
		c.path = append(c.path, cmd)
		c.words += " " + cmd.name
		c.argv = append(c.argv, cmd.name)
		rest = rest[1:]
		if len(cmd.sub) > 0 && len(rest) > 0 && (rest[0] == "--help" || rest[0] == "-h") {
			c.help = true
			return c, nil
		}
	}
	cmd := c.command()
	if cmd == root && len(args) > 0 && !c.help {
		return c, nil // the help, as without arguments
	}
	if len(cmd.sub) > 0 || c.help {
		return c.group(), nil
	}
	return c, c.leaf(cmd, rest)
}

// group is a call of a command that only has subcommands, or of help: it
// shows the help.
func (c *call) group() *call {
	if cmd := c.command(); cmd.setup != nil {
		c.flags = &flagSet{}
		cmd.setup(c.flags)
	}
	c.help = true
	return c
}

func (c *call) leaf(cmd *command, rest []string) error {
	c.flags = &flagSet{}
	c.run = cmd.setup(c.flags)
	g := grammar{cmd: cmd, words: c.words, flags: c.flags, stopAtArg: cmd.stopAtArg}
	args, err := g.parse(rest)
	if err != nil {
		return err
	}
	if c.help = g.help; c.help {
		return nil
	}
	if err := cmd.checkArgs(c.words, args); err != nil {
		return err
	}
	c.argv = append(append(append(c.argv, g.out...), "--"), args...)
	return nil
}

// grammar reads options the way pflag does.
type grammar struct {
	cmd       *command
	words     string
	flags     *flagSet
	stopAtArg bool
	out       []string // canonical options
	help      bool
}

// parse returns the arguments that are not options.
func (g *grammar) parse(args []string) (rest []string, err error) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			return append(rest, args[i+1:]...), nil
		case len(a) < 2 || a[0] != '-':
			if g.stopAtArg {
				return args[i:], nil
			}
			rest = append(rest, a)
			continue
		case strings.HasPrefix(a, "--"):
			i, err = g.long(a[2:], args, i)
		default:
			i, err = g.shorts(a[1:], args, i)
		}
		if err != nil || g.help {
			return nil, err
		}
	}
	return rest, nil
}

func (g *grammar) long(a string, args []string, i int) (int, error) {
	name, val, has := strings.Cut(a, "=")
	d := g.flags.named[name]
	switch {
	case d == nil && name == "help":
		g.help = true
		return i, nil
	case d == nil || strings.HasPrefix(name, "-"):
		return i, g.unknown(name)
	case has:
	case d.isBool:
		val = "true"
	case i+1 < len(args):
		i++
		val = args[i]
	default:
		return i, g.fail("flag needs an argument: --%s", name)
	}
	g.emit(d, val)
	return i, nil
}

func (g *grammar) shorts(a string, args []string, i int) (int, error) {
	for j := 0; j < len(a); j++ {
		d := g.flags.named["-"+a[j:j+1]]
		tail := a[j+1:]
		switch {
		case d == nil && a[j] == 'h':
			g.help = true
			return i, nil
		case d == nil:
			long, _, _ := strings.Cut(a, "=")
			if e := g.flags.named[long]; e != nil && len(long) > 1 {
				return i, g.fail("unknown shorthand flag: '%s' in -%s\nDid you mean '--%s'?", a[j:j+1], a, long)
			}
			return i, g.fail("unknown shorthand flag: '%s' in -%s", a[j:j+1], a)
		case d.isBool && strings.HasPrefix(tail, "="):
			g.emit(d, tail[1:])
			return i, nil
		case d.isBool:
			g.emit(d, "true")
			continue
		case tail != "":
			g.emit(d, strings.TrimPrefix(tail, "="))
		case i+1 < len(args):
			i++
			g.emit(d, args[i])
		default:
			return i, g.fail("flag needs an argument: '%s' in -%s", a[j:j+1], a)
		}
		return i, nil
	}
	return i, nil
}

// unknown is the error about a long flag that there is not, with the one that was
// likely meant.
func (g *grammar) unknown(name string) error {
	var known []string
	for _, d := range g.flags.list {
		if !d.hidden {
			known = append(known, d.name)
		}
	}
	if like := names.Nearest(name, known); like != "" {
		return g.fail("unknown flag: --%s\nDid you mean '--%s'?", name, like)
	}
	return g.fail("unknown flag: --%s", name)
}

func (g *grammar) emit(d *flagDef, val string) {
	d.given = true
	g.out = append(g.out, "--"+d.name+"="+val)
}

func (g *grammar) fail(format string, args ...any) error {
	e := g.cmd.usageError(g.words, format, args...).(*usageError)
	e.usage, e.code = "", 125
	return e
}

func unknownCommand(c *call, name string) error {
	if err := absence(strings.TrimPrefix(c.words+" "+name, c.path[0].name+" ")); err != nil {
		return err
	}
	text := "'" + name + "' is not a " + c.words + " command."
	if s := nearest(name, c.command()); s != "" {
		text += "\nDid you mean '" + c.words + " " + s + "'?"
	}
	return &usageError{path: c.words, text: text, code: 125}
}

// nearest is the subcommand that the user likely meant with name, or "".
func nearest(name string, c *command) string {
	var known []string
	for _, s := range c.sub {
		if !s.hidden {
			known = append(append(known, s.name), s.aliases...)
		}
	}
	return names.Nearest(name, known)
}
