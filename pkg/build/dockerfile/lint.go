// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"path"
	"regexp"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"
	"go.podman.io/image/v5/docker/reference"
)

// The rules of BuildKit's linter that its parser does not check itself but
// leaves to the builder. Those that need the base image are not among them.

func lintStages(stages []instructions.Stage, lint *linter.Linter, ignored func(string) bool) {
	lintCasing(stages, lint)
	seen := map[string]bool{}
	workdir := map[string]bool{} // stages with an absolute one
	for i := range stages {
		st := &stages[i]
		all, lint := lint, lint.WithMergedConfigFromComments(st.Comments)
		if st.Name == "context" || st.Name == "scratch" {
			lint.Run(&linter.RuleReservedStageName, st.Location, linter.RuleReservedStageName.Format(st.Name))
		}
		if st.Name != "" && seen[st.Name] {
			lint.Run(&linter.RuleDuplicateStageName, st.Location, linter.RuleDuplicateStageName.Format(st.Name))
		}
		seen[st.Name] = true
		lintPlatform(st, lint)
		lintCommands(st, all)
		lintIgnored(st, all, ignored)
		workdir[strings.ToLower(st.Name)] = lintWorkdir(st, workdir[strings.ToLower(st.BaseName)], all)
	}
}

// lintIgnored warns of files that COPY and ADD cannot find, since the ignore file leaves them out.
func lintIgnored(st *instructions.Stage, lint *linter.Linter, ignored func(string) bool) {
	if ignored == nil {
		return
	}
	for _, c := range st.Commands {
		var name string
		var paths []string
		switch c := c.(type) {
		case *instructions.CopyCommand:
			if c.From == "" {
				name, paths = "Copy", c.SourcePaths
			}
		case *instructions.AddCommand:
			name, paths = "Add", c.SourcePaths
		}
		lint := lint.WithMergedConfigFromComments(c.Comments())
		for _, p := range paths {
			if strings.Contains(p, "$") || strings.Contains(p, "://") || strings.HasPrefix(p, "git@") {
				continue
			}
			if ignored(strings.TrimPrefix(path.Clean("/"+p), "/")) {
				lint.Run(&linter.RuleCopyIgnoredFile, c.Location(), linter.RuleCopyIgnoredFile.Format(name, p))
			}
		}
	}
}

// lintWorkdir warns of a relative WORKDIR where none before it in the file is
// absolute: it depends on what the base image says. It returns whether one is set.
func lintWorkdir(st *instructions.Stage, set bool, lint *linter.Linter) bool {
	for _, c := range st.Commands {
		w, ok := c.(*instructions.WorkdirCommand)
		if !ok {
			continue
		}
		if !set && !path.IsAbs(w.Path) && !strings.HasPrefix(w.Path, "$") {
			lint.WithMergedConfigFromComments(c.Comments()).Run(&linter.RuleWorkdirRelativePath, c.Location(), linter.RuleWorkdirRelativePath.Format(w.Path))
		}
		set = true
	}
	return set
}

// lintKeyValues warns of "ENV key value", without an equals sign.
func lintKeyValues(c instructions.Command, kvs instructions.KeyValuePairs, lint *linter.Linter) {
	for _, kv := range kvs {
		if kv.NoDelim {
			lint.Run(&linter.RuleLegacyKeyValueFormat, c.Location(), linter.RuleLegacyKeyValueFormat.Format(c.Name()))
		}
	}
}

func lintPorts(c *instructions.ExposeCommand, lint *linter.Linter) {
	for _, port := range c.Ports {
		if strings.Contains(port, "$") {
			continue
		}
		where, proto, _ := strings.Cut(port, "/")
		if proto != strings.ToLower(proto) {
			lint.Run(&linter.RuleExposeProtoCasing, c.Location(), linter.RuleExposeProtoCasing.Format(port))
		}
		if strings.Contains(where, ":") {
			lint.Run(&linter.RuleExposeInvalidFormat, c.Location(), linter.RuleExposeInvalidFormat.Format(port))
		}
	}
}

// lintFrom warns of variables in a FROM line: of those that no ARG before the
// first FROM declares, of one that changes nothing, and of a name that is none
// unless --build-arg makes it one.
func (p *Plan) lintFrom(st *instructions.Stage, meta []instructions.ArgCommand, defaults Env) {
	lint := p.Lint.WithMergedConfigFromComments(st.Comments)
	lex := shell.NewLex(p.Escape)
	for _, word := range []string{st.BaseName, st.Platform} {
		m, err := lex.ProcessWordWithMatches(word, p.Global)
		if err != nil {
			return // addStages says so
		}
		for name := range m.Unmatched {
			if !declares(meta, name) {
				like, _ := suggest.Search(name, p.Global.Keys(), true)
				lint.Run(&linter.RuleUndefinedArgInFrom, st.Location, linter.RuleUndefinedArgInFrom.Format(name, like))
			}
		}
		if _, ok := m.Matched["TARGETPLATFORM"]; ok && word == st.Platform && len(m.Matched) == 1 && len(m.Unmatched) == 0 {
			if target, _ := p.Global.Get("TARGETPLATFORM"); m.Result == target {
				lint.Run(&linter.RuleRedundantTargetPlatform, st.Location, linter.RuleRedundantTargetPlatform.Format(word))
			}
		}
	}
	if !strings.Contains(st.BaseName, "$") {
		return
	}
	base, _, err := lex.ProcessWord(st.BaseName, defaults)
	if err != nil {
		return
	}
	if _, err := reference.ParseNormalizedNamed(base); err != nil {
		lint.Run(&linter.RuleInvalidDefaultArgInFrom, st.Location, linter.RuleInvalidDefaultArgInFrom.Format(st.BaseName))
	}
}

func declares(meta []instructions.ArgCommand, name string) bool {
	for i := range meta {
		for _, a := range meta[i].Args {
			if a.Key == name {
				return true
			}
		}
	}
	return false
}

// lintPlatform warns of a stage that builds for one platform whatever is asked
// for, unless its name says so.
func lintPlatform(st *instructions.Stage, lint *linter.Linter) {
	p := st.Platform
	if p == "" || strings.Contains(p, "$") {
		return
	}
	os, arch, _ := SplitPlatform(p)
	if strings.Contains(st.Name, os) || arch != "" && strings.Contains(st.Name, arch) {
		return
	}
	lint.Run(&linter.RuleFromPlatformFlagConstDisallowed, st.Location, linter.RuleFromPlatformFlagConstDisallowed.Format(p))
}

// lintCommands looks at the instructions of one stage. Of CMD, ENTRYPOINT and
// HEALTHCHECK only the last counts: the warning points at the others.
func lintCommands(st *instructions.Stage, lint *linter.Linter) {
	last := map[string][]parser.Range{}
	all := lint
	once := func(c instructions.Command) {
		name := strings.ToUpper(c.Name())
		if at, ok := last[name]; ok {
			lint.Run(&linter.RuleMultipleInstructionsDisallowed, at, linter.RuleMultipleInstructionsDisallowed.Format(name))
		}
		last[name] = c.Location()
	}
	ownShell := false
	shellForm := func(c instructions.Command, prepend bool) {
		if name := strings.ToUpper(c.Name()); prepend && !ownShell {
			lint.Run(&linter.RuleJSONArgsRecommended, c.Location(), linter.RuleJSONArgsRecommended.Format(name))
		}
	}
	for _, c := range st.Commands {
		lint = all.WithMergedConfigFromComments(c.Comments())
		switch c := c.(type) {
		case *instructions.ExposeCommand:
			lintPorts(c, lint)
		case *instructions.LabelCommand:
			lintKeyValues(c, c.Labels, lint)
		case *instructions.ShellCommand:
			ownShell = true
		case *instructions.CmdCommand:
			once(c)
			shellForm(c, c.PrependShell)
		case *instructions.EntrypointCommand:
			once(c)
			shellForm(c, c.PrependShell)
		case *instructions.HealthCheckCommand:
			once(c)
		case *instructions.ArgCommand:
			for _, a := range c.Args {
				lintSecret("ARG", a.Key, c.Location(), lint)
			}
		case *instructions.EnvCommand:
			lintKeyValues(c, c.Env, lint)
			for _, kv := range c.Env {
				lintSecret("ENV", kv.Key, c.Location(), lint)
			}
		}
	}
}

// lintSecret warns of variables that look as if they held a secret: everybody
// who has the image can read them.
func lintSecret(instruction, key string, at []parser.Range, lint *linter.Linter) {
	secret, err := regexp.MatchString(`(?i)(^|_)(apikey|auth|credentials?|key|password|pword|passwd|secret|token)(_|$)`, key)
	if err != nil || !secret {
		return
	}
	if harmless, _ := regexp.MatchString(`(?i)(^|_)(public|file|version)(_|$)`, key); !harmless {
		lint.Run(&linter.RuleSecretsUsedInArgOrEnv, at, linter.RuleSecretsUsedInArgOrEnv.Format(instruction, key))
	}
}

// lintCasing wants all instructions in upper or all in lower case, as most of
// them are.
func lintCasing(stages []instructions.Stage, lint *linter.Linter) {
	lower, upper := 0, 0
	eachName(stages, func(name string, _ []parser.Range) {
		if name == strings.ToLower(name) {
			lower++
		} else if name == strings.ToUpper(name) {
			upper++
		}
	})
	want, casing := strings.ToUpper, "uppercase"
	if lower > upper {
		want, casing = strings.ToLower, "lowercase"
	}
	eachName(stages, func(name string, at []parser.Range) {
		if want(name) != name {
			lint.Run(&linter.RuleConsistentInstructionCasing, at, linter.RuleConsistentInstructionCasing.Format(name, casing))
		}
	})
}

func eachName(stages []instructions.Stage, do func(name string, at []parser.Range)) {
	for i := range stages {
		do(stages[i].OrigCmd, stages[i].Location)
		for _, c := range stages[i].Commands {
			do(c.Name(), c.Location())
		}
	}
}
