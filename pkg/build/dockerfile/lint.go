// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"regexp"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// The rules of BuildKit's linter that its parser does not check itself but
// leaves to the builder. Those that need the base image are not among them.

func lintStages(stages []instructions.Stage, lint *linter.Linter) {
	lintCasing(stages, lint)
	seen := map[string]bool{}
	for i := range stages {
		st := &stages[i]
		if st.Name == "context" || st.Name == "scratch" {
			lint.Run(&linter.RuleReservedStageName, st.Location, linter.RuleReservedStageName.Format(st.Name))
		}
		if st.Name != "" && seen[st.Name] {
			lint.Run(&linter.RuleDuplicateStageName, st.Location, linter.RuleDuplicateStageName.Format(st.Name))
		}
		seen[st.Name] = true
		lintPlatform(st, lint)
		lintCommands(st, lint)
	}
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
		switch c := c.(type) {
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
