// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"
)

// suggestions are the completions of a word.
type suggestions struct {
	words  []string // "WORD" or "WORD<tab>description"; the printer keeps those that fit
	files  string   // "files" or "dirs" where these fit as well
	prefix string   // what stands before them in the word: "--pull="
}

// suggester lists the values of a flag or an argument. cur is the beginning of the word.
type suggester func(ctx context.Context, a *app, cur string) suggestions

// complete lists what cur, the word behind before, may become.
func (a *app) complete(ctx context.Context, before []string, cur string) suggestions {
	cmd, flags := a.root, globalFlags(&a.globals)
	var args []string
	options := true // options may stand here
	for i := 0; i < len(before); i++ {
		w := before[i]
		switch {
		case options && w == "--":
			options = false
		case options && len(w) > 1 && w[0] == '-':
			d, _, attached := flags.valueIn(w)
			switch {
			case d == nil || attached:
				flags.see(w)
			case i+1 == len(before):
				return d.values(ctx, a, "", cur)
			default:
				i++
				_ = d.Set(before[i]) // a wrong value is told when the command runs
			}
		case len(cmd.sub) > 0 && w == "help":
		case len(cmd.sub) > 0:
			if cmd == a.root {
				_ = a.applyGlobals()
			}
			if cmd = cmd.find(w); cmd == nil {
				return suggestions{}
			}
			flags, options = &flagSet{}, true
			if cmd.setup != nil {
				cmd.setup(flags)
			}
		default:
			args = append(args, w)
			options = options && !cmd.stopAtArg
		}
	}
	switch {
	case options && strings.HasPrefix(cur, "-"):
		if d, prefix, attached := flags.valueIn(cur); attached {
			return d.values(ctx, a, prefix, cur)
		}
		return flags.suggest()
	case len(cmd.sub) > 0:
		return cmd.suggestCommands()
	}
	return cmd.suggestArgument(ctx, a, args, cur)
}

// valueIn finds the flag in a word such as "--name", "-it" or "-p80:80" that takes a
// value. The value is attached to it, behind prefix, or is the next word.
func (f *flagSet) valueIn(w string) (d *flagDef, prefix string, attached bool) {
	if long, ok := strings.CutPrefix(w, "--"); ok {
		name, _, has := strings.Cut(long, "=")
		if d = f.named[name]; d == nil || d.isBool && !has {
			return nil, "", false
		}
		return d, "--" + name + "=", has
	}
	for j := 1; j < len(w); j++ {
		d, tail := f.named["-"+w[j:j+1]], w[j+1:]
		switch {
		case d == nil:
			return nil, "", false
		case strings.HasPrefix(tail, "="):
			return d, w[:j+2], true
		case !d.isBool:
			return d, w[:j+1], tail != ""
		}
	}
	return nil, "", false
}

// knows reports whether a word such as "--name=x", "-it" or "-p80:80" holds flags of the set.
func (f *flagSet) knows(w string) bool {
	if long, ok := strings.CutPrefix(w, "--"); ok {
		name, _, _ := strings.Cut(long, "=")
		return f.named[name] != nil
	}
	return len(w) > 1 && w[0] == '-' && f.named[w[:2]] != nil
}

// see remembers that the flags of a word were given.
func (f *flagSet) see(w string) {
	if long, ok := strings.CutPrefix(w, "--"); ok {
		name, _, _ := strings.Cut(long, "=")
		if d := f.named[name]; d != nil {
			d.seen = true
		}
		return
	}
	for j := 1; j < len(w); j++ {
		if d := f.named["-"+w[j:j+1]]; d != nil {
			d.seen = true
			if !d.isBool {
				return
			}
		}
	}
}

// values are those of the flag, which stand behind prefix in cur.
func (d *flagDef) values(ctx context.Context, a *app, prefix, cur string) suggestions {
	var s suggestions
	switch {
	case d.refused != "":
	case d.suggest != nil:
		s = d.suggest(ctx, a, strings.TrimPrefix(cur, prefix))
	case d.isBool:
		s.words = []string{"true", "false"}
	case d.typ == "path":
		s.files = "files"
	}
	s.prefix = prefix
	return s
}

// suggest lists the flags that may still be given.
func (f *flagSet) suggest() suggestions {
	var s suggestions
	for _, d := range visible(f) {
		if !d.seen || d.repeats {
			s.words = append(s.words, "--"+d.name+"\t"+d.usage)
		}
	}
	s.words = append(s.words, "--help\tShow the help of this command")
	return s
}

func (c *command) suggestCommands() suggestions {
	var s suggestions
	for _, sub := range c.sub {
		if !sub.hidden {
			s.words = append(s.words, sub.name+"\t"+sub.short)
		}
	}
	s.words = append(s.words, "help\tShow the help of a command")
	return s
}

// suggestArgument names what the usage line asks for behind args.
func (c *command) suggestArgument(ctx context.Context, a *app, args []string, cur string) suggestions {
	if c.free || c.max >= 0 && len(args) >= c.max {
		return suggestions{}
	}
	var s suggestions
	kinds := argumentKinds(c.args, len(args))
	for _, kind := range kinds {
		switch kind {
		case "CONTAINER":
			s.words = append(s.words, a.containerWords(ctx, c.acts)...)
		case "ID": // "NAME|ID" is any object
			s.words = append(a.containerWords(ctx, nil), a.volumeWords(ctx)...)
		case "NAME", "IMAGE", "SOURCE_IMAGE", "TARGET_IMAGE", "REPOSITORY", "MANIFEST_LIST", "MANIFEST":
			s.words = append(s.words, a.imageWords(ctx)...)
		case "VOLUME":
			s.words = append(s.words, a.volumeWords(ctx)...)
		case "ARTIFACT":
			s.words = append(s.words, a.artifactWords(ctx)...)
		case "PATH", "file":
			s.files = "files"
		default:
			if len(kinds) > 1 && kind != "-" && strings.ToLower(kind) == kind { // a word such as "bash"
				s.words = append(s.words, kind)
			}
		}
	}
	return s.without(args)
}

// argumentKinds are the alternatives that a usage line such as
// "IMAGE[:TAG] [CONTAINER|IMAGE...]" has for the argument n.
func argumentKinds(usage string, n int) []string {
	words := strings.Fields(strings.ReplaceAll(usage, " | ", "|"))
	if n >= len(words) && strings.Contains(usage, "...") {
		n = len(words) - 1
	}
	if n >= len(words) {
		return nil
	}
	word := strings.TrimLeft(words[n], "[")
	if i := strings.IndexAny(word, "[.]"); i >= 0 {
		word = word[:i]
	}
	return strings.Split(word, "|")
}

// without leaves out what the command line has already.
func (s suggestions) without(args []string) suggestions {
	have := map[string]bool{}
	for _, w := range args {
		have[w] = true
	}
	kept := s.words[:0]
	for _, w := range s.words {
		if word, _, _ := strings.Cut(w, "\t"); !have[word] {
			have[word] = true
			kept = append(kept, w)
		}
	}
	s.words = kept
	return s
}
