// SPDX-License-Identifier: Apache-2.0

package build

import (
	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/proa-containers/proa/pkg/build/dockerfile"
)

// checkVariables warns of undefined variables without a build. Stages on images that are not
// here are left out: which variables those have is unknown.
func (b *builder) checkVariables() error {
	known := map[*dockerfile.Stage]bool{}
	for _, p := range b.plan.Stages {
		s := b.newStage(p)
		b.stages[p] = s
		switch from := p.BaseFrom; {
		case from != nil:
			base := b.stages[from]
			s.image, s.args, known[p] = cloneImage(base.image), base.args, known[from]
		case p.Base == "scratch":
			s.image.Config.Env, known[p] = []string{defaultPath}, true
		case b.o.BaseEnv != nil:
			if _, named := b.o.Contexts.Lookup(p.Base); !named {
				s.image.Config.Env, known[p] = b.o.BaseEnv(p.Base)
			}
		}
		if !known[p] {
			continue
		}
		for _, cmd := range p.Commands {
			if err := s.checkVariables(cmd); err != nil {
				return b.locate(firstLine(cmd), err)
			}
		}
	}
	return nil
}

// checkVariables expands one instruction and does what changes the variables of later ones.
func (s *stage) checkVariables(cmd instructions.Command) error {
	if err := s.expand(cmd); err != nil {
		return err
	}
	switch c := cmd.(type) {
	case *instructions.ArgCommand:
		_, err := s.setArgs(c)
		return err
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			s.image.Config.Env = dockerfile.Env(s.image.Config.Env).With(kv.Key, kv.Value)
		}
	}
	return nil
}
