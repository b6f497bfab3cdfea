// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// everyCommand calls do with each command that the help shows.
func everyCommand(do func(c *call)) {
	var walk func(path []*command, words string)
	walk = func(path []*command, words string) {
		cmd := path[len(path)-1]
		if cmd.hidden {
			return
		}
		do(&call{path: path, words: words, flags: docFlags(path)})
		for _, s := range cmd.sub {
			walk(append(path[:len(path):len(path)], s), words+" "+s.name)
		}
	}
	root := tree()
	walk([]*command{root}, root.name)
}

func TestHelpFits(t *testing.T) {
	everyCommand(func(c *call) {
		for _, width := range []int{50, 80, 133} {
			for _, line := range strings.Split(helpText(c, globalFlags(&globals{}), width), "\n") {
				words := strings.Fields(line)
				if utf8.RuneCountInString(line) > width && len(words) > 1 {
					t.Errorf("%s at %d columns: %q", c.words, width, line)
				}
				if strings.TrimRight(line, " ") != line {
					t.Errorf("%s: blanks at the end of %q", c.words, line)
				}
			}
		}
	})
}

// TestExamples wants each example to be understood, as far as this is a command line
// without quotes.
func TestExamples(t *testing.T) {
	seen := 0
	everyCommand(func(c *call) {
		for _, e := range c.command().examples {
			line, about := exampleParts(e)
			if strings.HasSuffix(about, ".") {
				t.Errorf("%s: %q ends in a full stop", c.words, about)
			}
			if strings.ContainsAny(line, "'\"$(") {
				continue
			}
			for _, part := range strings.FieldsFunc(line, func(r rune) bool { return r == '|' || r == '<' }) {
				words := strings.Fields(part)
				if words[0] != "proa" {
					continue
				}
				seen++
				_, err := understand(tree(), globalFlags(&globals{}), words[1:])
				if err != nil {
					t.Errorf("%s: example %q: %v", c.words, part, err)
				}
			}
		}
	})
	if seen < 40 {
		t.Errorf("only %d examples", seen)
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		got, want string
	}{
		{wrapParagraphs("one two\nthree four five\n\n  kept as it is\n  a  table that is too long here\nlast", 16),
			"one two three\nfour five\n\n  kept as it is\n  a table that\n    is too long\n    here\nlast"},
		{twoColumns([][2]string{{"  -a", "what a does, and more of it than fits in here"}, {"  -b", ""}, {"  --a-very-long-option", "b"}}, 2, 40),
			"  -a  what a does, and more of it than\n      fits in here\n  -b\n  --a-very-long-option\n      b\n"},
		{exampleLines("proa run   short", 40), "  proa run   short\n"},
		{exampleLines("proa run --name web --publish 8080:80 nginx   a server", 30),
			"  proa run --name web \\\n      --publish 8080:80 \\\n      nginx\n      # a server\n"},
	} {
		if c.got != c.want {
			t.Errorf("got\n%s\nwant\n%s", c.got, c.want)
		}
	}
}
