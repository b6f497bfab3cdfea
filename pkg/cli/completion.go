// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

// The scripts hold no knowledge of the commands: they ask "proa __complete",
// which knows the tree, and the names of containers and images as well. A
// candidate is a line "WORD<tab>description".

const bashCompletion = `# bash completion for proa. Load it with: source <(proa completion bash)
_proa() {
	local IFS=$'\n' line
	COMPREPLY=()
	while read -r line; do
		COMPREPLY+=("${line%%$'\t'*}")
	done < <(proa __complete -- "${COMP_WORDS[@]:1:$COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _proa proa
`

const zshCompletion = `#compdef proa
# zsh completion for proa. Load it with: source <(proa completion zsh)
_proa() {
	local -a candidates
	local line
	while IFS= read -r line; do
		candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
	done < <(proa __complete -- "${(@)words[2,$CURRENT]}" 2>/dev/null)
	if (( ${#candidates} )); then
		_describe proa candidates
	else
		_files
	fi
}
compdef _proa proa
`

const fishCompletion = `# fish completion for proa. Load it with: proa completion fish | source
function __proa_complete
	set -l words (commandline -opc) (commandline -ct)
	proa __complete -- $words[2..-1] 2>/dev/null
end
complete -c proa -a '(__proa_complete)'
`

func completionCommand() *command {
	return &command{
		name: "completion", args: "bash|zsh|fish", short: "Print a completion script for a shell", min: 1, max: 1,
		setup: func(*flagSet) action {
			return func(_ context.Context, a *app, args []string) error {
				script, ok := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[args[0]]
				if !ok {
					return errs.WithHint(errs.New(errs.Invalid, "no completion for the shell %q", args[0]), "proa completion bash, zsh or fish")
				}
				a.out.Print(script)
				return nil
			}
		},
	}
}

func completeCommand() *command {
	return &command{
		name: "__complete", args: "WORD...", short: "List completions of a command line", max: -1, stopAtArg: true, hidden: true,
		setup: func(*flagSet) action {
			return func(ctx context.Context, a *app, args []string) error {
				if len(args) == 0 {
					args = []string{""}
				}
				for _, c := range a.complete(ctx, args) {
					a.out.Println(c)
				}
				return nil
			}
		},
	}
}

// complete lists what the last word may become.
func (a *app) complete(ctx context.Context, words []string) []string {
	cur := words[len(words)-1]
	cmd, flags := a.root, globalFlags(&globals{})
	positional := 0
	for i := 0; i < len(words)-1; i++ {
		w := words[i]
		switch sub := cmd.find(w); {
		case strings.HasPrefix(w, "-"):
			if d := flags.byWord(w); d != nil && !d.isBool && !strings.Contains(w, "=") {
				i++
				if i == len(words)-1 {
					return nil // the value of a flag: files
				}
			}
		case sub != nil:
			cmd, flags = sub, &flagSet{}
			if sub.setup != nil {
				sub.setup(flags)
			}
		default:
			positional++
		}
	}
	switch {
	case strings.HasPrefix(cur, "-"):
		return flagCandidates(flags, cur)
	case len(cmd.sub) > 0:
		return commandCandidates(cmd, cur)
	case cmd.stopAtArg && positional > 0:
		return nil
	}
	return a.objectCandidates(ctx, cmd, cur)
}

// byWord finds the flag that a word such as "--name" or "-it" ends with.
func (f *flagSet) byWord(w string) *flagDef {
	if strings.HasPrefix(w, "--") {
		return f.named[w[2:]]
	}
	return f.named["-"+w[len(w)-1:]]
}

func flagCandidates(flags *flagSet, cur string) []string {
	var out []string
	for _, d := range visible(flags) {
		if strings.HasPrefix("--"+d.name, cur) {
			out = append(out, "--"+d.name+"\t"+d.usage)
		}
	}
	return out
}

func commandCandidates(cmd *command, cur string) []string {
	var out []string
	for _, s := range cmd.sub {
		if !s.hidden && strings.HasPrefix(s.name, cur) {
			out = append(out, s.name+"\t"+s.short)
		}
	}
	return out
}

// objectCandidates names containers, images or volumes, whichever the usage
// line asks for.
func (a *app) objectCandidates(ctx context.Context, cmd *command, cur string) []string {
	e, err := a.engine(ctx)
	if err != nil {
		return nil
	}
	var out []string
	add := func(name, about string) {
		if strings.HasPrefix(name, cur) {
			out = append(out, name+"\t"+about)
		}
	}
	if strings.HasPrefix(cmd.args, "CONTAINER") || strings.HasPrefix(cmd.args, "NAME|ID") {
		list, _ := e.List(ctx, libpod.ListOptions{All: true})
		for _, c := range list {
			add(c.Name, c.Image+" "+string(c.State))
		}
	}
	if strings.Contains(cmd.args, "IMAGE") || strings.HasPrefix(cmd.args, "NAME") {
		list, _ := e.Images(ctx, libpod.ImageListOptions{})
		for _, i := range list {
			for _, n := range i.Names {
				add(n, "image")
			}
		}
	}
	if strings.HasPrefix(cmd.args, "VOLUME") {
		list, _ := e.Volumes(ctx, nil)
		for _, v := range list {
			add(v.Name, "volume")
		}
	}
	return out
}
