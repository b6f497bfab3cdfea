// SPDX-License-Identifier: Apache-2.0

// Package dockerfile turns the text of a Dockerfile into a plan: the stages that
// the target needs, what each waits for, what the linter says. It is pure: all
// that it knows of the world it is told in Options. BuildKit's own parser reads
// the instructions.
package dockerfile

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
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
	Steps    int                       // of all stages; FROM is one
	all      []*Stage                  // those of the file
	Meta     []instructions.ArgCommand // the ARGs before the first FROM, as written
}

// Stage is one stage of a plan.
type Stage struct {
	Index    int // in the file
	Name     string
	Base     string // expanded; a stage's name, an image, a named context, "scratch"
	Context  bool   // a named context, Base, stands for the stage
	BaseFrom *Stage // the stage that it starts from; nil: from an image or nothing
	Platform string // of FROM --platform, expanded
	Commands []instructions.Command
	Deps     []*Stage // that must be done first
	Line     int      // of its FROM
	First    int      // number of its first step
	Text     string   // of its FROM line, as written
	Doc      string   // the comment above it that begins with its name
	FromArgs []string // variables in its FROM line
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
	// Ignored says that the ignore file leaves a path of the context out; nil: it leaves out nothing.
	Ignored func(path string) bool
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

// builtinArgs are arguments that BuildKit documents, with what they ask for. Each has its effect,
// here or in the package that it concerns, or the reason why it has none.
var builtinArgs = map[string]string{
	"BUILDKIT_CACHE_MOUNT_NS": "", "BUILDKIT_CONTEXT_KEEP_GIT_DIR": "", "BUILDKIT_DOCKERFILE_CHECK": "",
	"BUILDKIT_INLINE_CACHE": "", "BUILDKIT_MULTI_PLATFORM": "", "BUILDKIT_SANDBOX_HOSTNAME": "",

	"BUILDKIT_BUILD_NAME":             "there is no history of builds to name it in",
	"BUILDKIT_DISABLE_FILEOP":         "COPY and ADD need no image of their own",
	"BUILDKIT_GIT_ADVICE":             "what git says is shown where it fails",
	"BUILDKIT_HISTORY_PROVENANCE_V1":  "there is no history of builds",
	"BUILDKIT_SBOM_SCAN_CONTEXT":      "attestations are not implemented",
	"BUILDKIT_SBOM_SCAN_STAGE":        "attestations are not implemented",
	"BUILDKIT_USE_DEPRECATED_HISTORY": "there is no history of builds",
	"BUILDKIT_SYNTAX":                 "the Dockerfile is read by the parser that is built in",
}

// warnBuiltin warns of BuildKit's arguments that have no effect here, unless an ARG names them: then
// the Dockerfile uses them itself.
func (p *Plan) warnBuiltin(o *Options) {
	for _, name := range slices.Sorted(maps.Keys(o.Args)) {
		v, given := o.Arg(name)
		builtIn := name == "BUILDKIT_SYNTAX" && strings.HasPrefix(v, "dockerfile.v0")
		if !strings.HasPrefix(name, "BUILDKIT_") || !given || builtIn {
			continue
		}
		why, known := builtinArgs[name]
		switch {
		case !known:
			p.warn("", "build-arg "+name+" has no effect: it is not known", "", nil)
		case why != "":
			p.warn("", "build-arg "+name+" has no effect: "+why, "", nil)
		}
	}
}

// Parse reads a Dockerfile and keeps what the target needs for a platform. On an error the plan has
// the warnings of what was read before it.
func Parse(text []byte, name string, o *Options, platform string) (*Plan, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return &Plan{}, errs.New(errs.Invalid, "the Dockerfile (%s) cannot be empty", name)
	}
	p := &Plan{}
	return p, p.parse(text, name, o, platform)
}

func (p *Plan) parse(text []byte, name string, o *Options, platform string) error {
	lint, err := p.linter(text, o)
	if err != nil {
		return err
	}
	p.Lint = lint
	res, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return lineError(name, text, err)
	}
	p.Escape = res.EscapeToken
	for _, w := range res.Warnings {
		if w.URL == linter.RuleNoEmptyContinuation.URL && w.Location != nil {
			lint.Run(&linter.RuleNoEmptyContinuation, []parser.Range{*w.Location}, linter.RuleNoEmptyContinuation.Format())
			continue
		}
		p.warn("", w.Short, w.URL, w.Location)
	}
	if err := relabels(res.AST); err != nil {
		return lineError(name, text, err)
	}
	stages, meta, err := instructions.Parse(res.AST, lint)
	if err != nil {
		return lineError(name, text, err)
	}
	if len(stages) == 0 {
		return errs.New(errs.Invalid, "no build stage in %s: it has no FROM line", name)
	}
	if o.From != "" {
		stages[0].BaseName = o.From
	}
	lintStages(stages, lint, o.Ignored)
	if p.Global, err = globalArgs(meta, stages, p.Escape, o, platform); err != nil {
		return lineError(name, text, err)
	}
	p.Meta = meta
	if defaults, err := globalArgs(meta, stages, p.Escape, &Options{Target: o.Target}, platform); err == nil {
		for i := range stages {
			p.lintFrom(&stages[i], meta, defaults)
		}
	}
	if err := p.addStages(stages, o); err != nil {
		return lineError(name, text, err)
	}
	p.unusedArgs(meta, o)
	p.warnBuiltin(o)
	if err := p.selectTarget(o.Target, o.AllStages); err != nil {
		return err
	}
	return nil
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
	for _, st := range p.all {
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

// linter reads the argument BUILDKIT_DOCKERFILE_CHECK, else the line "# check=".
func (p *Plan) linter(text []byte, o *Options) (*linter.Linter, error) {
	opt, _, _, _ := parser.ParseDirective("check", text)
	where := "check directive"
	if v, ok := o.Arg("BUILDKIT_DOCKERFILE_CHECK"); ok {
		opt, where = v, "BUILDKIT_DOCKERFILE_CHECK"
	}
	cfg, err := linter.ParseLintOptions(opt)
	if err != nil {
		return nil, errs.New(errs.Invalid, "bad %s: %v", where, err)
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
func globalArgs(meta []instructions.ArgCommand, stages []instructions.Stage, escape rune, o *Options, platform string) (Env, error) {
	env := append(platformArgs(platform), "TARGETSTAGE="+targetName(stages, o.Target))
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
func platformArgs(target string) Env {
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
	return env
}

// targetName is what TARGETSTAGE says: the name of the target, "default" for a last
// stage that has none.
func targetName(stages []instructions.Stage, target string) string {
	if n, err := strconv.Atoi(target); err == nil && n >= 0 && n < len(stages) && stages[n].Name != "" {
		return stages[n].Name
	}
	return cmp.Or(target, stages[len(stages)-1].Name, "default")
}

// HostPlatform is that of this machine.
func HostPlatform() string { return spec.HostPlatform() }

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
