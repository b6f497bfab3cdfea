// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"slices"
	"sync"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/proa-containers/proa/pkg/build/dockerfile"
)

// The plan knows which stages an instruction of the file reads. Which ones the triggers
// of a base image read it does not: that image is only looked at when its stage begins.
// A stage that nothing but such a trigger needs is not in the plan, and the stage with
// the trigger executes it on the way, as part of the trigger.

// needs are the stages that turned out to be needed.
type needs struct {
	mu     sync.Mutex // also of what stages of the plan wait for
	stages map[*dockerfile.Stage]*stage
	order  []*stage
}

// all returns the executed stages, those of the plan first.
func (n *needs) all(b *builder) []*stage {
	var all []*stage
	for _, p := range b.plan.Stages {
		all = append(all, b.stages[p])
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return append(all, n.order...)
}

// stage is a stage that is executed, nil: it is not.
func (b *builder) stage(p *dockerfile.Stage) *stage {
	if s := b.stages[p]; s != nil {
		return s
	}
	b.needs.mu.Lock()
	defer b.needs.mu.Unlock()
	return b.needs.stages[p]
}

// claim records that reader waits for a stage. With mine nobody executes the stage yet, and
// the caller must.
func (b *builder) claim(reader, p *dockerfile.Stage) (s *stage, mine bool, err error) {
	b.needs.mu.Lock()
	defer b.needs.mu.Unlock()
	if p == reader || p.Needs(reader) {
		return nil, false, dockerfile.Circular(p)
	}
	if !slices.Contains(reader.Deps, p) {
		reader.Deps = append(reader.Deps, p)
	}
	if s = b.stages[p]; s != nil {
		b.want(p)
		return s, false, nil
	}
	if s = b.needs.stages[p]; s != nil {
		return s, false, nil
	}
	s = b.newStage(p)
	if b.needs.stages == nil {
		b.needs.stages = map[*dockerfile.Stage]*stage{}
	}
	b.needs.stages[p] = s
	b.needs.order = append(b.needs.order, s)
	return s, true, nil
}

// want lets a stage, and those that it needs, begin before its turn.
func (b *builder) want(p *dockerfile.Stage) {
	s := b.stages[p]
	if s == nil || s.isWanted {
		return
	}
	s.isWanted = true
	close(s.wanted)
	for _, d := range p.Deps {
		b.want(d)
	}
}

// awaitStages waits for the stages that an instruction reads from. Others may use
// this stage's slot meanwhile.
func (s *stage) awaitStages(ctx context.Context, ref StepRef, cmd instructions.Command) error {
	for _, name := range dockerfile.Sources(cmd) {
		if _, named := s.b.o.Contexts.Lookup(name); named {
			continue
		}
		p, err := s.b.plan.Source(name, s.plan)
		if err != nil {
			return err
		}
		if p == nil || p.Context {
			continue
		}
		if err := s.await(ctx, ref, p); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *stage) await(ctx context.Context, ref StepRef, p *dockerfile.Stage) error {
	dep, mine, err := s.b.claim(s.plan, p)
	if err != nil {
		return err
	}
	if mine {
		defer close(dep.done)
		ref.Trigger = true
		ref.Triggers++ // the one that needs the stage
		dep.trigger = &ref
		if p.BaseFrom != nil {
			dep.err = s.await(ctx, ref, p.BaseFrom)
		}
		if dep.err == nil {
			dep.err = dep.run(ctx)
		}
	} else {
		select {
		case <-dep.done:
		default:
			s.b.slots.leave()
			<-dep.done
			s.b.slots.goOn()
		}
	}
	if dep.err != nil {
		return errDependency
	}
	return nil
}
