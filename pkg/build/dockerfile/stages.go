// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

func (p *Plan) addStages(stages []instructions.Stage, o *Options) error {
	lex := shell.NewLex(p.Escape)
	for i := range stages {
		s := &stages[i]
		base, unmatched, err := lex.ProcessWord(s.BaseName, p.Global)
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
		platform, err := p.platform(s.Platform, lex)
		if err != nil {
			return parser.WithLocation(err, s.Location)
		}
		st := &Stage{Index: i, Name: s.Name, Base: base, Platform: platform, Commands: s.Commands, Text: s.SourceCode, Doc: s.DocComment}
		st.FromArgs = variables(lex, s.BaseName, s.Platform)
		if len(s.Location) > 0 {
			st.Line = s.Location[0].Start.Line
		}
		switch {
		case s.Name != "" && o.named(s.Name):
			st.Context, st.Base, st.Platform, st.Commands = true, s.Name, "", nil
		case !o.named(base):
			st.BaseFrom = p.byName(base, i)
		}
		p.all = append(p.all, st)
	}
	for _, st := range p.all {
		if err := p.addDeps(st, o); err != nil {
			return err
		}
	}
	for i, st := range p.all {
		if st.Needs(st) {
			return parser.WithLocation(Circular(st), stages[i].Location)
		}
	}
	return nil
}

// platform is what FROM --platform says, in Go's form.
func (p *Plan) platform(word string, lex *shell.Lex) (string, error) {
	if word == "" {
		return "", nil
	}
	value, unmatched, err := lex.ProcessWord(word, p.Global)
	if err != nil {
		return "", err
	}
	if value == "" {
		err := fmt.Errorf("empty platform value from expression %s", word)
		for name := range unmatched {
			err = suggest.WrapError(err, name, p.Global.Keys(), true)
		}
		return "", err
	}
	return spec.ParseAnyPlatform(value)
}

// Circular is the error for a stage that depends on itself.
func Circular(st *Stage) error {
	return errs.New(errs.Invalid, "circular dependency detected on stage: %s", st.label())
}

// variables are the names that words refer to, each once.
func variables(lex *shell.Lex, words ...string) []string {
	var names []string
	for _, w := range words {
		m, err := lex.ProcessWordWithMatches(w, Env(nil))
		if err != nil {
			continue
		}
		for _, n := range slices.Sorted(maps.Keys(m.Unmatched)) {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// All are the stages of the file in its order, those that the target does not need as well.
func (p *Plan) All() []*Stage {
	return p.all
}

// byName is the stage called name before the stage with index before: a stage can only refer to earlier ones.
func (p *Plan) byName(name string, before int) *Stage {
	for i := min(before, len(p.all)) - 1; i >= 0; i-- {
		if p.all[i].Name != "" && strings.EqualFold(p.all[i].Name, name) {
			return p.all[i]
		}
	}
	return nil
}

// byNameOrNumber is byName, for COPY --from and RUN --mount=from, where a number
// means a stage too, and, as in BuildKit, a stage that comes later in the file
// where none before it has the name.
func (p *Plan) byNameOrNumber(name string, before int) *Stage {
	if st := p.byName(name, before); st != nil {
		return st
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < len(p.all) {
		return p.all[n]
	}
	return p.byName(name, len(p.all))
}

func (p *Plan) addDeps(st *Stage, o *Options) error {
	if st.BaseFrom != nil {
		st.Deps = append(st.Deps, st.BaseFrom)
	}
	for _, c := range st.Commands {
		if err := p.addSources(st, c, o); err != nil {
			return parser.WithLocation(err, c.Location())
		}
	}
	if st.BaseFrom == nil {
		return nil
	}
	for _, c := range st.BaseFrom.Commands {
		trigger, ok := c.(*instructions.OnbuildCommand)
		if !ok {
			continue
		}
		cmds, err := Trigger(trigger.Expression)
		for _, c := range cmds {
			if err == nil {
				err = p.addSources(st, c, o)
			}
		}
		if err != nil {
			return parser.WithLocation(err, trigger.Location())
		}
	}
	return nil
}

// addSources adds the stages that a command of a stage reads to those that it needs.
func (p *Plan) addSources(st *Stage, c instructions.Command, o *Options) error {
	for _, from := range Sources(c) {
		if o.named(from) {
			continue
		}
		d, err := p.Source(from, st)
		if err != nil {
			return err
		}
		if d != nil && !d.Context && !slices.Contains(st.Deps, d) {
			st.Deps = append(st.Deps, d)
		}
	}
	return nil
}

// Source is the stage of the file that a command of st reads with --from; nil: it is no
// stage that has the name.
func (p *Plan) Source(from string, st *Stage) (*Stage, error) {
	if strings.Contains(from, "$") {
		err := errs.New(errs.Invalid, "variable expansion is not supported for --from: %s", from)
		return nil, errs.WithHint(err, "give the image or stage a name of its own, FROM %s AS NAME with an ARG before the first FROM, and say --from=NAME", from)
	}
	if strings.EqualFold(from, st.Name) && st.Name != "" || from == strconv.Itoa(st.Index) {
		return nil, fmt.Errorf("stage %q cannot copy from itself", from)
	}
	return p.byNameOrNumber(from, st.Index), nil
}

// Trigger is the text of an ONBUILD instruction, parsed.
func Trigger(text string) ([]instructions.Command, error) {
	nodes, err := parseTrigger(text)
	if err != nil {
		return nil, err
	}
	var cmds []instructions.Command
	for _, node := range nodes {
		cmd, err := instructions.ParseCommand(node)
		if err != nil {
			return nil, err
		}
		cmds = append(cmds, cmd)
	}
	return cmds, nil
}

// Needs reports whether st depends on another stage or on itself, directly or not.
func (st *Stage) Needs(other *Stage) bool {
	seen := map[*Stage]bool{}
	var search func(*Stage) bool
	search = func(from *Stage) bool {
		return slices.ContainsFunc(from.Deps, func(d *Stage) bool {
			if d == other {
				return true
			}
			if seen[d] {
				return false
			}
			seen[d] = true
			return search(d)
		})
	}
	return search(st)
}

// label is what messages call a stage.
func (st *Stage) label() string {
	if st.Name != "" {
		return st.Name
	}
	return strconv.Itoa(st.Index)
}

// Sources are the stages or images that a command reads.
func Sources(c instructions.Command) []string {
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
func (p *Plan) selectTarget(target string, all bool) error {
	p.Target = p.all[len(p.all)-1]
	if target != "" {
		t := p.byNameOrNumber(target, len(p.all))
		if t == nil {
			return errs.WithHint(errs.New(errs.NotFound, "target stage %q could not be found", target), "stages are: %s", p.stageNames())
		}
		p.Target = t
	}
	p.Target.mark()
	if all {
		for _, st := range p.all {
			st.needed = true
		}
	}
	for _, st := range p.all {
		if st.needed {
			p.Stages = append(p.Stages, st)
		}
	}
	for _, st := range p.Stages {
		st.First = p.Steps + 1
		p.Steps += 1 + len(st.Commands)
	}
	return nil
}

func (st *Stage) mark() {
	if st.needed {
		return
	}
	st.needed = true
	for _, d := range st.Deps {
		d.mark()
	}
}

// Names are those of all stages in the file, dropped ones too.
func (p *Plan) Names() []string {
	var names []string
	for _, st := range p.all {
		if st.Name != "" {
			names = append(names, st.Name)
		}
	}
	return names
}

func (p *Plan) stageNames() string {
	var names []string
	for _, st := range p.all {
		names = append(names, st.label())
	}
	return strings.Join(names, ", ")
}

// OwnPlatform is what --platform says of the stage or of those it is built on.
func (st *Stage) OwnPlatform() string {
	for ; st != nil; st = st.BaseFrom {
		if st.Platform != "" {
			return st.Platform
		}
	}
	return ""
}
