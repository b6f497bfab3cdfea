// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
)

// The scripts hold no knowledge of the commands. They ask "proa __complete", which
// knows the tree of commands, and the containers, images and volumes as well. Its
// answer is lines "WORD<tab>description" and a last line that begins with a colon. That
// one says whether files or directories fit, too (":files", ":dirs", ":"), and behind a
// tab what the words follow without a blank, such as "--pull=".
//
// A word that ends in ":", "=", "," or "/" is not finished: no blank follows it.

const bashCompletion = `# bash completion for proa. Load it with: source <(proa completion bash)
_proa() {
	local line=${COMP_LINE:0:COMP_POINT} words=() i word before blank cur how prefix breaks= cut=
	# bash takes "debian:12" and "--pull=always" for three words each.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]} blank=${line%%[![:blank:]]*}
		line=${line#"$blank"}
		((i < COMP_CWORD)) || word=$line
		if ((i > 1)) && [[ -z $blank && ( $word =~ ^[:=]+$ || $before =~ ^[:=]+$ ) ]]; then
			words[-1]+=$word
		else
			words+=("$word")
		fi
		line=${line#"$word"} before=$word
	done
	words=("${words[@]//[\"\'\\]/}")
	cur=${words[-1]}
	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		:*) how=${line%%$'\t'*} prefix=${line#*$'\t'} ;;
		*) COMPREPLY+=("${line%%$'\t'*}") ;;
		esac
	done < <(proa __complete -- "${words[@]:1}" 2>/dev/null)
	case $how in
	:files) compopt -o default ;;
	:dirs) compopt -o dirnames ;;
	esac 2>/dev/null
	if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *[:=,/] ]]; then
		compopt -o nospace 2>/dev/null
	fi
	COMPREPLY=("${COMPREPLY[@]/#/$prefix}")
	# bash replaces only what stands behind the last ":" or "=".
	[[ $COMP_WORDBREAKS != *:* ]] || breaks+=:
	[[ $COMP_WORDBREAKS != *=* ]] || breaks+==
	[[ -z $breaks ]] || cut=${cur%"${cur##*[$breaks]}"}
	COMPREPLY=("${COMPREPLY[@]#"$cut"}")
}
complete -F _proa proa
`

const zshCompletion = `#compdef proa
# zsh completion for proa. Load it with: source <(proa completion zsh)
# or save it as _proa in a directory of $fpath.
_proa() {
	local -a whole open
	local line word about how prefix
	while IFS= read -r line; do
		if [[ $line == :* ]]; then
			how=${line%%$'\t'*} prefix=${line#*$'\t'}
			continue
		fi
		word=${line%%$'\t'*} about=
		[[ $line == *$'\t'* ]] && about=:${line#*$'\t'}
		case $word in
		*[:=,/]) open+=("${word//:/\\:}$about") ;;
		*) whole+=("${word//:/\\:}$about") ;;
		esac
	done < <(proa __complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
	compset -p ${#prefix}
	(( ${#whole} + ${#open} )) && _describe proa whole -- open -S ''
	case $how in
	:files) _files ;;
	:dirs) _files -/ ;;
	esac
}
if [[ $funcstack[1] == _proa ]]; then
	_proa "$@" # zsh found the file in $fpath and runs it for the first completion
else
	compdef _proa proa
fi
`

const fishCompletion = `# fish completion for proa. Load it with: proa completion fish | source
function __proa_complete
	set -l words (commandline -opc)
	set -l cur (commandline -ct)
	set -l answer (proa __complete -- $words[2..-1] "$cur" 2>/dev/null)
	set -l how (string split \t -- $answer[-1])
	set -l rest (string sub -s (math 1 + (string length -- "$how[2]")) -- "$cur")
	switch "$how[1]"
		case :files
			set answer (__fish_complete_path "$rest") $answer
		case :dirs
			set answer (__fish_complete_directories "$rest") $answer
	end
	for line in $answer[1..-2]
		echo -- $how[2]$line
	end
end
complete -c proa -f -a '(__proa_complete)'
`

// completionScripts are in the order of the usage line.
var completionScripts = map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}

const completionHelp = `"make install" puts the scripts where the shells look. Elsewhere load the script at the start of the
shell, or save it:

  bash  ~/.bashrc: source <(proa completion bash)
  zsh   ~/.zshrc, behind compinit: source <(proa completion zsh)
  fish  ~/.config/fish/config.fish: proa completion fish | source

zsh looks into the directories of $fpath only. For "make install PREFIX=$HOME/.local" write this into
~/.zshrc before compinit: fpath=(~/.local/share/zsh/site-functions $fpath)`

func completionCommand() *command {
	return &command{
		examples: []string{
			`source <(proa completion bash)      in the running bash`,
			`proa completion fish | source       in the running fish`,
		},
		name: "completion", args: "bash|zsh|fish", short: "Print a completion script for a shell", long: completionHelp, min: 1, max: 1,
		setup: func(*flagSet) action {
			return func(_ context.Context, a *app, args []string) error {
				script, ok := completionScripts[args[0]]
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
				cur := args[len(args)-1]
				s := a.complete(ctx, args[:len(args)-1], cur)
				for _, w := range s.words {
					if strings.HasPrefix(s.prefix+w, cur) {
						a.out.Println(w)
					}
				}
				a.out.Println(":" + s.files + "\t" + s.prefix)
				return nil
			}
		},
	}
}
