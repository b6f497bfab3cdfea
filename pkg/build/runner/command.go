// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Command is the command line of a RUN, shell the words in front of its shell form. A heredoc that is the whole command is
// the shell's program; one that begins with #! is a script of its own, put at
// ScriptPath.
func Command(c *instructions.RunCommand, shell []string) (args []string, script string) {
	if !c.PrependShell {
		return slices.Clone(c.CmdLine), ""
	}
	line := strings.Join(c.CmdLine, " ")
	if len(c.Files) == 0 {
		return append(slices.Clone(shell), line), ""
	}
	if len(c.Files) == 1 && isBareHeredoc(line, c.Files[0].Name) {
		data := c.Files[0].Data
		if c.Files[0].Chomp {
			data = parser.ChompHeredocContent(data)
		}
		if !strings.HasPrefix(data, "#!") {
			return append(slices.Clone(shell), data), ""
		}
		return []string{ScriptPath}, data
	}
	for _, f := range c.Files {
		line += "\n" + f.Data + f.Name
	}
	return append(slices.Clone(shell), line), ""
}

// ScriptPath lies on the container's own /dev, which is no part of the layer.
const ScriptPath = "/dev/pipes/script"

// isBareHeredoc says whether line is nothing but the word that opens the
// heredoc called name.
func isBareHeredoc(line, name string) bool {
	word, ok := strings.CutPrefix(strings.TrimSpace(line), "<<")
	return ok && strings.Trim(strings.TrimPrefix(word, "-"), `"'`) == name
}
