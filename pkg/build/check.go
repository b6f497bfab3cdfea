// SPDX-License-Identifier: Apache-2.0

package build

import (
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/runner"
)

// Target is a stage that --target can name.
type Target struct {
	Name        string `json:"name,omitempty"`
	Default     bool   `json:"default,omitempty"`
	Description string `json:"description,omitempty"`
	Base        string `json:"base,omitempty"`
	Platform    string `json:"platform,omitempty"`
	Index       int    `json:"-"` // in the file
}

// Outline lists the arguments, secrets and agents that the target and its stages use.
type Outline struct {
	Name        string        `json:"name,omitempty"`
	Description string        `json:"description,omitempty"`
	Args        []OutlineArg  `json:"args,omitempty"`
	Secrets     []OutlineNeed `json:"secrets,omitempty"`
	SSH         []OutlineNeed `json:"ssh,omitempty"`
}

// OutlineArg is a build argument with the value that it would have.
type OutlineArg struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Value       string `json:"value,omitempty"`
}

// OutlineNeed is a secret or an agent that RUN steps use.
type OutlineNeed struct {
	Name     string `json:"name"`
	Required bool   `json:"required,omitempty"`
}

func (b *builder) targets() []Target {
	all := b.plan.All()
	out := make([]Target, len(all))
	for i, st := range all {
		out[i] = Target{Name: st.Name, Default: i == len(all)-1, Description: st.Doc, Base: st.Base, Platform: st.Platform, Index: st.Index}
	}
	return out
}

// check goes through the instructions without a build: it warns of undefined variables and notes
// what they take. Of stages on images that are not here nobody knows the variables.
func (b *builder) check() error {
	b.outline.Name, b.outline.Description = b.plan.Target.Name, b.plan.Target.Doc
	for _, meta := range b.plan.Meta {
		for _, a := range meta.Args {
			if slices.ContainsFunc(b.plan.Stages, func(st *dockerfile.Stage) bool { return slices.Contains(st.FromArgs, a.Key) }) {
				v, _ := b.plan.Global.Get(a.Key)
				b.outline.addArg(OutlineArg{a.Key, a.DocComment, v})
			}
		}
	}
	for _, p := range b.plan.Stages {
		s := b.newStage(p)
		b.stages[p] = s
		s.unknownBase = true
		switch from := p.BaseFrom; {
		case from != nil:
			base := b.stages[from]
			s.image, s.args, s.unknownBase = cloneImage(base.image), base.args, base.unknownBase
		case p.Base == "scratch":
			s.image.Config.Env, s.unknownBase = []string{defaultPath}, false
		case b.o.BaseEnv != nil:
			if _, named := b.o.Contexts.Lookup(p.Base); !named {
				env, here := b.o.BaseEnv(p.Base)
				s.image.Config.Env, s.unknownBase = env, !here
			}
		}
		for _, cmd := range p.Commands {
			if err := s.check(cmd, &b.outline); err != nil {
				return b.locate(firstLine(cmd), err)
			}
		}
	}
	return nil
}

// check expands one instruction and does what changes the variables of later ones.
func (s *stage) check(cmd instructions.Command, o *Outline) error {
	if err := s.expand(cmd); err != nil {
		return err
	}
	switch c := cmd.(type) {
	case *instructions.ArgCommand:
		if _, err := s.setArgs(c); err != nil {
			return err
		}
		for _, a := range c.Args {
			v, _ := s.args.Get(a.Key)
			o.addArg(OutlineArg{a.Key, a.DocComment, v})
		}
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			s.image.Config.Env = dockerfile.Env(s.image.Config.Env).With(kv.Key, kv.Value)
		}
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(c) {
			switch m.Type {
			case instructions.MountTypeSecret:
				addNeed(&o.Secrets, runner.SecretID(m, m.Target), m.Required)
			case instructions.MountTypeSSH:
				addNeed(&o.SSH, runner.AgentID(m), m.Required)
			}
		}
	}
	return nil
}

// addArg records an argument once; a later line may add to it.
func (o *Outline) addArg(a OutlineArg) {
	i := slices.IndexFunc(o.Args, func(b OutlineArg) bool { return b.Name == a.Name })
	if i < 0 {
		o.Args = append(o.Args, a)
	} else if o.Args[i].Description == "" {
		o.Args[i].Description = a.Description
	}
}

func addNeed(list *[]OutlineNeed, name string, required bool) {
	i := slices.IndexFunc(*list, func(n OutlineNeed) bool { return n.Name == name })
	if i < 0 {
		*list = append(*list, OutlineNeed{name, required})
	} else {
		(*list)[i].Required = (*list)[i].Required || required
	}
}
