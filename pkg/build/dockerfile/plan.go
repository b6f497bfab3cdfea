// SPDX-License-Identifier: Apache-2.0

// Package dockerfile turns the text of a Dockerfile into a plan: the stages that
// the target needs, what each waits for, what the linter says. It is pure: all
// that it knows of the world it is told in Options. BuildKit's own parser reads
// the instructions.
package dockerfile

import (
	"bytes"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/proa-containers/proa/pkg/errs"
)

// Plan is a parsed Dockerfile: the stages that the target needs, in file
// order, with what each waits for.
type Plan struct {
	Stages   []*Stage
	Target   *Stage
	Escape   rune // escape character of the file
	Global   Env  // ARGs before the first FROM, with predefined platform args
	Warnings []Warning
	Lint     *linter.Linter
	Dropped  []*Stage // that the target does not need
	Steps    int      // of all stages; FROM is one
}

// Stage is one stage of a plan.
type Stage struct {
	Index    int // in the file
	Name     string
	Base     string // expanded; a stage's name, an image, "scratch"
	BaseFrom *Stage // the stage that it starts from; nil: from an image or nothing
	Platform string // of FROM --platform, expanded
	Commands []instructions.Command
	Deps     []*Stage // that must be done first
	Line     int      // of its FROM
	First    int      // number of its first step
	Text     string   // of its FROM line, as written
	needed   bool     // by the target
}

// Options say how a Dockerfile is read.
type Options struct {
	From      string             // instead of the first FROM's image
	Target    string             // stage to build; empty: the last
	AllStages bool               // keep what the target does not need as well
	Args      map[string]*string // --build-arg; nil value: from Getenv
	Getenv    func(string) (string, bool)
	Named     func(string) bool // what stands for a named context, not for a stage; nil: nothing does
}

func (o *Options) named(name string) bool { return o.Named != nil && o.Named(name) }

// Arg is the value given by --build-arg.
func (o *Options) Arg(key string) (string, bool) {
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

// Warning is one finding of the linter.
type Warning struct {
	Rule, Message, URL string
	Line               int // 1-based; 0: none
}

// PredefinedArgs need no ARG line and do not enter the cache key of a RUN that
// does not name them (Dockerfile reference, "Predefined ARGs").
var PredefinedArgs = []string{
	"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy",
	"NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy",
}

// Parse reads a Dockerfile and keeps what the target needs for a platform.
func Parse(text []byte, name string, o *Options, platform string) (*Plan, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errs.New(errs.Invalid, "the Dockerfile (%s) cannot be empty", name)
	}
	p := &Plan{}
	lint, err := p.linter(text)
	if err != nil {
		return nil, err
	}
	p.Lint = lint
	res, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, lineError(name, text, err)
	}
	p.Escape = res.EscapeToken
	for _, w := range res.Warnings {
		if w.URL == linter.RuleNoEmptyContinuation.URL && w.Location != nil {
			lint.Run(&linter.RuleNoEmptyContinuation, []parser.Range{*w.Location}, linter.RuleNoEmptyContinuation.Format())
			continue
		}
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
	if p.Global, err = globalArgs(meta, p.Escape, o, platform); err != nil {
		return nil, lineError(name, text, err)
	}
	if err := p.addStages(stages, o); err != nil {
		return nil, lineError(name, text, err)
	}
	if defaults, err := globalArgs(meta, p.Escape, &Options{Target: o.Target}, platform); err == nil {
		for i := range stages {
			p.lintFrom(&stages[i], meta, defaults)
		}
	}
	p.unusedArgs(meta, o)
	if err := p.selectTarget(o.Target, o.AllStages); err != nil {
		return nil, err
	}
	return p, nil
}

// unusedArgs warns, in Docker's words, of --build-arg that no ARG line names:
// mostly a mistyped name.
func (p *Plan) unusedArgs(meta []instructions.ArgCommand, o *Options) {
	known := slices.Clone(PredefinedArgs)
	add := func(c *instructions.ArgCommand) {
		for _, a := range c.Args {
			known = append(known, a.Key)
		}
	}
	for i := range meta {
		add(&meta[i])
	}
	for _, st := range p.Stages {
		for _, c := range st.Commands {
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

func (p *Plan) linter(text []byte) (*linter.Linter, error) {
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

func (p *Plan) warn(rule, msg, url string, at *parser.Range) {
	w := Warning{Rule: rule, Message: msg, URL: url}
	if at != nil {
		w.Line = at.Start.Line
	}
	p.Warnings = append(p.Warnings, w)
}

// globalArgs are the ARGs before the first FROM: visible to FROM lines, and the
// defaults of an ARG without a value inside a stage.
func globalArgs(meta []instructions.ArgCommand, escape rune, o *Options, platform string) (Env, error) {
	env := platformArgs(o, platform)
	lex := shell.NewLex(escape)
	for _, cmd := range meta {
		for _, a := range cmd.Args {
			v, ok := o.Arg(a.Key)
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
			env = env.With(a.Key, v)
		}
	}
	return env, nil
}

// platformArgs are BUILDPLATFORM, TARGETARCH and friends.
func platformArgs(o *Options, target string) Env {
	host := HostPlatform()
	if target == "" {
		target = host
	}
	var env Env
	for _, p := range []struct{ prefix, platform string }{{"BUILD", host}, {"TARGET", target}} {
		os, arch, variant := SplitPlatform(p.platform)
		env = append(env, p.prefix+"PLATFORM="+p.platform, p.prefix+"OS="+os,
			p.prefix+"ARCH="+arch, p.prefix+"VARIANT="+variant)
	}
	stage := o.Target
	if stage == "" {
		stage = "default"
	}
	return append(env, "TARGETSTAGE="+stage)
}

// HostPlatform is the os/arch of this machine.
func HostPlatform() string { return "linux/" + runtime.GOARCH }

// SplitPlatform takes os/arch[/variant] apart; what is missing is empty.
func SplitPlatform(p string) (os, arch, variant string) {
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
