// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"sort"
	"strings"
)

// usageLine is "Usage:  proa rm [OPTIONS] CONTAINER [CONTAINER...]".
func usageLine(words string, c *command) string {
	line := "Usage:  " + words
	switch {
	case len(c.sub) > 0:
		line += " COMMAND"
	case c.args != "":
		line += " [OPTIONS] " + c.args
	default:
		line += " [OPTIONS]"
	}
	return line
}

// helpText is what --help prints, in Docker's arrangement, for a terminal of this width.
func helpText(c *call, globals *flagSet, width int) string {
	width = max(width, 20)
	var b strings.Builder
	cmd := c.command()
	flags := c.flags
	if len(c.path) == 1 {
		flags = globals
		b.WriteString("Usage:  proa [OPTIONS] COMMAND\n")
	} else {
		const head = "Usage:  "
		b.WriteString(head + hang(strings.TrimPrefix(usageLine(c.words, cmd), head), len(head), width) + "\n")
	}
	b.WriteString("\n" + hang(cmd.short, 0, width) + "\n")
	if cmd.long != "" {
		b.WriteString("\n" + wrapParagraphs(cmd.long, width) + "\n")
	}
	if names := aliasNames(c); len(names) > 1 {
		b.WriteString("\nAliases:\n  " + hang(strings.Join(names, ", "), 2, width) + "\n")
	}
	if len(cmd.sub) > 0 {
		b.WriteString(commandList(cmd, width))
	}
	if opts := optionList(flags, width); opts != "" && (len(cmd.sub) == 0 || len(c.path) == 1) {
		b.WriteString("\nOptions:\n" + opts)
	}
	if len(cmd.examples) > 0 {
		b.WriteString("\nExamples:\n")
		for _, e := range cmd.examples {
			b.WriteString(exampleLines(e, width))
		}
	}
	if len(cmd.sub) > 0 {
		b.WriteString("\n" + hang("Run '"+c.words+" COMMAND --help' for more information on a command.", 0, width) + "\n")
	}
	return b.String()
}

// aliasNames lists every way to call the command.
func aliasNames(c *call) []string {
	cmd := c.command()
	parent := strings.TrimSuffix(c.words, cmd.name)
	if cmd.twin == "" {
		names := []string{c.words}
		for _, a := range cmd.aliases {
			names = append(names, parent+a)
		}
		return names
	}
	root := c.path[0]
	group, name, _ := strings.Cut(cmd.twin, " ")
	names := []string{root.name + " " + cmd.twin}
	for _, a := range root.find(group).find(name).aliases {
		names = append(names, root.name+" "+group+" "+a)
	}
	return append(names, root.name+" "+shortForm(root, cmd.twin))
}

// shortForm is the name at the root of the command with this twin.
func shortForm(root *command, twin string) string {
	for _, s := range root.sub {
		if s.twin == twin {
			return s.name
		}
	}
	return twin
}

// commandList lists the subcommands under their headings.
func commandList(cmd *command, width int) string {
	groups := map[string][]*command{}
	var order []string
	longest := 0
	for _, s := range cmd.sub {
		if s.hidden {
			continue
		}
		g := s.group
		if g == "" {
			g = "Commands"
		}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], s)
		longest = max(longest, len(s.name))
	}
	var b strings.Builder
	for _, g := range order {
		b.WriteString("\n" + g + ":\n")
		var rows [][2]string
		for _, s := range groups[g] {
			rows = append(rows, [2]string{fmt.Sprintf("  %-*s", longest+1, s.name), s.short})
		}
		b.WriteString(twoColumns(rows, 2, width))
	}
	return b.String()
}

// optionList lists the flags by name.
func optionList(f *flagSet, width int) string {
	if f == nil {
		return ""
	}
	var lines [][2]string
	for _, d := range visible(f) {
		l := [2]string{flagHead(d), d.usage}
		if d.def != "" && !strings.Contains(d.usage, "(default") {
			l[1] += " (default " + quoteDefault(d) + ")"
		}
		lines = append(lines, l)
	}
	return twoColumns(lines, 3, width)
}

func visible(f *flagSet) []*flagDef {
	var list []*flagDef
	for _, d := range f.list {
		if !d.hidden {
			list = append(list, d)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list
}

func flagHead(d *flagDef) string {
	head := "      --" + d.name
	if d.short != "" {
		head = "  -" + d.short + ", --" + d.name
	}
	if !d.isBool {
		head += " " + d.typ
	}
	return head
}

func quoteDefault(d *flagDef) string {
	if d.isBool || d.typ == "int" {
		return d.def
	}
	return `"` + d.def + `"`
}
