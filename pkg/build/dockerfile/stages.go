// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/proa-containers/proa/pkg/errs"
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
		platform, _, err := lex.ProcessWord(s.Platform, p.Global)
		if err != nil {
			return parser.WithLocation(err, s.Location)
		}
		st := &Stage{Index: i, Name: s.Name, Base: base, Platform: platform, Commands: s.Commands, Text: s.SourceCode}
		if len(s.Location) > 0 {
			st.Line = s.Location[0].Start.Line
		}
		if !o.named(base) {
			st.BaseFrom = p.byName(base, i)
		}
		p.Stages = append(p.Stages, st)
	}
	for _, st := range p.Stages {
		if err := p.addDeps(st, o); err != nil {
			return err
		}
	}
	return nil
}

// byName is the stage called name before the stage with index before: a stage can only refer to earlier ones.
func (p *Plan) byName(name string, before int) *Stage {
	for i := min(before, len(p.Stages)) - 1; i >= 0; i-- {
		if p.Stages[i].Name != "" && strings.EqualFold(p.Stages[i].Name, name) {
			return p.Stages[i]
		}
	}
	return nil
}

// byNameOrNumber is byName, for COPY --from and RUN --mount=from, where a number
// means a stage too.
func (p *Plan) byNameOrNumber(name string, before int) *Stage {
	if st := p.byName(name, before); st != nil {
		return st
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < before && n < len(p.Stages) {
		return p.Stages[n]
	}
	return nil
}

func (p *Plan) addDeps(st *Stage, o *Options) error {
	if st.BaseFrom != nil {
		st.Deps = append(st.Deps, st.BaseFrom)
	}
	for _, c := range st.Commands {
		for _, from := range Sources(c) {
			if o.named(from) {
				continue
			}
			if strings.EqualFold(from, st.Name) && st.Name != "" || from == strconv.Itoa(st.Index) {
				return parser.WithLocation(fmt.Errorf("stage %q cannot copy from itself", from), c.Location())
			}
			if d := p.byNameOrNumber(from, st.Index); d != nil {
				st.Deps = append(st.Deps, d)
			}
		}
	}
	return nil
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
	p.Target = p.Stages[len(p.Stages)-1]
	if target != "" {
		t := p.byNameOrNumber(target, len(p.Stages))
		if t == nil {
			return errs.WithHint(errs.New(errs.NotFound, "target stage %q could not be found", target), "stages are: %s", p.stageNames())
		}
		p.Target = t
	}
	p.Target.mark()
	if all {
		for _, st := range p.Stages {
			st.needed = true
		}
	}
	var kept []*Stage
	for _, st := range p.Stages {
		if st.needed {
			kept = append(kept, st)
		} else {
			p.Dropped = append(p.Dropped, st)
		}
	}
	p.Stages = kept
	p.Steps = 0
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
	stages := slices.Concat(p.Stages, p.Dropped)
	slices.SortFunc(stages, func(a, b *Stage) int { return a.Index - b.Index })
	var names []string
	for _, st := range stages {
		if st.Name != "" {
			names = append(names, st.Name)
		}
	}
	return names
}

func (p *Plan) stageNames() string {
	var names []string
	for _, st := range p.Stages {
		if st.Name != "" {
			names = append(names, st.Name)
		} else {
			names = append(names, strconv.Itoa(st.Index))
		}
	}
	return strings.Join(names, ", ")
}

// Find is the kept stage with a name, or with a number in the file, that comes
// before the place before in the file; nil: there is none. Dropped stages shift
// the list, so that it is no place in Stages.
func (p *Plan) Find(name string, before int) *Stage {
	for i := len(p.Stages) - 1; i >= 0; i-- {
		st := p.Stages[i]
		if st.Index >= before {
			continue
		}
		if st.Name != "" && strings.EqualFold(st.Name, name) || name == strconv.Itoa(st.Index) {
			return st
		}
	}
	return nil
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
