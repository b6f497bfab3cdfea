// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/proa-containers/proa/pkg/errs"
)

// plan is a parsed Dockerfile: the stages that the target needs, in file
// order, with what each waits for.
type plan struct {
	stages   []*stagePlan
	target   *stagePlan
	escape   rune
	global   envList // ARGs before the first FROM, with predefined platform args
	warnings []Warning
	lint     *linter.Linter
	dropped  []*stagePlan // that the target does not need
	steps    int
}

type stagePlan struct {
	index    int // in the file
	name     string
	base     string // expanded; a stage's name, an image, "scratch"
	baseFrom *stagePlan
	platform string
	commands []instructions.Command
	deps     []*stagePlan
	line     int
	first    int // number of its first step
	text     string
	needed   bool // by the target
}

// predefinedArgs need no ARG line and do not enter the cache key of a RUN that
// does not name them (Dockerfile reference, "Predefined ARGs").
var predefinedArgs = []string{
	"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy",
	"NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy",
}

// parsePlan reads a Dockerfile and keeps what the target needs for a platform.
func parsePlan(text []byte, name string, o *Options, platform string) (*plan, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errs.New(errs.Invalid, "the Dockerfile (%s) cannot be empty", name)
	}
	p := &plan{}
	lint, err := p.linter(text)
	if err != nil {
		return nil, err
	}
	p.lint = lint
	res, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, lineError(name, text, err)
	}
	p.escape = res.EscapeToken
	for _, w := range res.Warnings {
		p.warn("", w.Short, w.URL, w.Location)
	}
	stages, meta, err := instructions.Parse(res.AST, lint)
	if err != nil {
		return nil, lineError(name, text, err)
	}
	if len(stages) == 0 {
		return nil, errs.New(errs.Invalid, "no build stage in %s: it has no FROM line", name)
	}
	if o.From != "" {
		stages[0].BaseName = o.From
	}
	lintStages(stages, lint)
	if p.global, err = globalArgs(meta, p.escape, o, platform); err != nil {
		return nil, lineError(name, text, err)
	}
	if err := p.addStages(stages, o); err != nil {
		return nil, lineError(name, text, err)
	}
	p.unusedArgs(meta, o)
	if err := p.selectTarget(o.Target, o.AllStages); err != nil {
		return nil, err
	}
	return p, nil
}

// unusedArgs warns, in Docker's words, of --build-arg that no ARG line names:
// mostly a mistyped name.
func (p *plan) unusedArgs(meta []instructions.ArgCommand, o *Options) {
	known := slices.Clone(predefinedArgs)
	add := func(c *instructions.ArgCommand) {
		for _, a := range c.Args {
			known = append(known, a.Key)
		}
	}
	for i := range meta {
		add(&meta[i])
	}
	for _, st := range p.stages {
		for _, c := range st.commands {
			if c, ok := c.(*instructions.ArgCommand); ok {
				add(c)
			}
		}
	}
	var unused []string
	for name := range o.Args {
		if !slices.Contains(known, name) && !strings.HasPrefix(name, "BUILDKIT_") && name != "SOURCE_DATE_EPOCH" {
			unused = append(unused, name)
		}
	}
	if len(unused) > 0 {
		slices.Sort(unused)
		p.warn("", "One or more build-args ["+strings.Join(unused, " ")+"] were not consumed", "", nil)
	}
}

func (p *plan) linter(text []byte) (*linter.Linter, error) {
	opt, _, _, _ := parser.ParseDirective("check", text)
	cfg, err := linter.ParseLintOptions(opt)
	if err != nil {
		return nil, errs.New(errs.Invalid, "bad check directive: %v", err)
	}
	cfg.Warn = func(rule, _, url, msg string, loc []parser.Range) {
		var at *parser.Range
		if len(loc) > 0 {
			at = &loc[0]
		}
		p.warn(rule, msg, url, at)
	}
	return linter.New(cfg), nil
}

func (p *plan) warn(rule, msg, url string, at *parser.Range) {
	w := Warning{Rule: rule, Message: msg, URL: url}
	if at != nil {
		w.Line = at.Start.Line
	}
	p.warnings = append(p.warnings, w)
}

// globalArgs are the ARGs before the first FROM: visible to FROM lines, and the
// defaults of an ARG without a value inside a stage.
func globalArgs(meta []instructions.ArgCommand, escape rune, o *Options, platform string) (envList, error) {
	env := platformArgs(o, platform)
	lex := shell.NewLex(escape)
	for _, cmd := range meta {
		for _, a := range cmd.Args {
			v, ok := buildArg(o, a.Key)
			switch {
			case ok:
			case a.Value != nil:
				word, _, err := lex.ProcessWord(*a.Value, env)
				if err != nil {
					return nil, parser.WithLocation(err, cmd.Location())
				}
				v = word
			default:
				continue
			}
			env = env.with(a.Key, v)
		}
	}
	return env, nil
}

// buildArg is the value given by --build-arg.
func buildArg(o *Options, key string) (string, bool) {
	v, ok := o.Args[key]
	if !ok {
		return "", false
	}
	if v != nil {
		return *v, true
	}
	if o.Getenv == nil {
		return "", false
	}
	return o.Getenv(key)
}

// platformArgs are BUILDPLATFORM, TARGETARCH and friends.
func platformArgs(o *Options, target string) envList {
	host := hostPlatform()
	if target == "" {
		target = host
	}
	var env envList
	for _, p := range []struct{ prefix, platform string }{{"BUILD", host}, {"TARGET", target}} {
		os, arch, variant := splitPlatform(p.platform)
		env = append(env, p.prefix+"PLATFORM="+p.platform, p.prefix+"OS="+os,
			p.prefix+"ARCH="+arch, p.prefix+"VARIANT="+variant)
	}
	stage := o.Target
	if stage == "" {
		stage = "default"
	}
	return append(env, "TARGETSTAGE="+stage)
}

func hostPlatform() string { return "linux/" + runtime.GOARCH }

func splitPlatform(p string) (os, arch, variant string) {
	parts := strings.SplitN(p, "/", 3)
	os = parts[0]
	if len(parts) > 1 {
		arch = parts[1]
	}
	if len(parts) > 2 {
		variant = parts[2]
	}
	return os, arch, variant
}

func (p *plan) addStages(stages []instructions.Stage, o *Options) error {
	lex := shell.NewLex(p.escape)
	for i := range stages {
		s := &stages[i]
		base, unmatched, err := lex.ProcessWord(s.BaseName, p.global)
		if err != nil {
			return parser.WithLocation(err, s.Location)
		}
		if base == "" {
			missing := ""
			for k := range unmatched {
				missing = k
			}
			return parser.WithLocation(fmt.Errorf("base name (%s) should not be blank: give %s a value with ARG or --build-arg", s.BaseName, missing), s.Location)
		}
		platform, _, err := lex.ProcessWord(s.Platform, p.global)
		if err != nil {
			return parser.WithLocation(err, s.Location)
		}
		st := &stagePlan{index: i, name: s.Name, base: base, platform: platform, commands: s.Commands, text: s.SourceCode}
		if len(s.Location) > 0 {
			st.line = s.Location[0].Start.Line
		}
		if _, named := o.Contexts.Lookup(base); !named {
			st.baseFrom = p.find(base, i)
		}
		p.stages = append(p.stages, st)
	}
	for _, st := range p.stages {
		if err := p.addDeps(st, o); err != nil {
			return err
		}
	}
	return nil
}

// find is the stage called name (or its number) before the stage with index
// before: a stage can only refer to earlier ones.
func (p *plan) find(name string, before int) *stagePlan {
	for i := min(before, len(p.stages)) - 1; i >= 0; i-- {
		if p.stages[i].name != "" && strings.EqualFold(p.stages[i].name, name) {
			return p.stages[i]
		}
	}
	return nil
}

// findFrom is find, for COPY --from and RUN --mount=from, where a number means
// a stage too.
func (p *plan) findFrom(name string, before int) *stagePlan {
	if st := p.find(name, before); st != nil {
		return st
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < before && n < len(p.stages) {
		return p.stages[n]
	}
	return nil
}

func (p *plan) addDeps(st *stagePlan, o *Options) error {
	if st.baseFrom != nil {
		st.deps = append(st.deps, st.baseFrom)
	}
	for _, c := range st.commands {
		for _, from := range fromNames(c) {
			if _, named := o.Contexts.Lookup(from); named {
				continue
			}
			if strings.EqualFold(from, st.name) && st.name != "" || from == strconv.Itoa(st.index) {
				return parser.WithLocation(fmt.Errorf("stage %q cannot copy from itself", from), c.Location())
			}
			if d := p.findFrom(from, st.index); d != nil {
				st.deps = append(st.deps, d)
			}
		}
	}
	return nil
}

// fromNames are the stages or images that a command reads.
func fromNames(c instructions.Command) []string {
	switch c := c.(type) {
	case *instructions.CopyCommand:
		if c.From != "" {
			return []string{c.From}
		}
	case *instructions.RunCommand:
		var names []string
		for _, m := range instructions.GetMounts(c) {
			if m.From != "" {
				names = append(names, m.From)
			}
		}
		return names
	}
	return nil
}

// selectTarget marks what the target needs, drops the rest and numbers the
// steps: FROM is a step too.
func (p *plan) selectTarget(target string, all bool) error {
	p.target = p.stages[len(p.stages)-1]
	if target != "" {
		t := p.findFrom(target, len(p.stages))
		if t == nil {
			return errs.WithHint(errs.New(errs.NotFound, "target stage %q could not be found", target), "stages are: %s", p.stageNames())
		}
		p.target = t
	}
	p.target.mark()
	if all {
		for _, st := range p.stages {
			st.needed = true
		}
	}
	var kept []*stagePlan
	for _, st := range p.stages {
		if st.needed {
			kept = append(kept, st)
		} else {
			p.dropped = append(p.dropped, st)
		}
	}
	p.stages = kept
	p.steps = 0
	for _, st := range p.stages {
		st.first = p.steps + 1
		p.steps += 1 + len(st.commands)
	}
	return nil
}

func (st *stagePlan) mark() {
	if st.needed {
		return
	}
	st.needed = true
	for _, d := range st.deps {
		d.mark()
	}
}

func (p *plan) stageNames() string {
	var names []string
	for _, st := range p.stages {
		if st.name != "" {
			names = append(names, st.name)
		} else {
			names = append(names, strconv.Itoa(st.index))
		}
	}
	return strings.Join(names, ", ")
}
