// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/errs"
)

// Several platforms are several builders over one session: each has a plan and
// stages of its own. What they have in common is found by its cache key: of
// two steps with one key the second waits for the first and takes its result.
// So a stage FROM --platform=$BUILDPLATFORM runs once, up to the first step
// that sees TARGETARCH.

// platforms are those to build for.
func (b *session) platforms(ctx context.Context) ([]string, error) {
	if b.o.AllPlatforms && b.engine != nil {
		return b.basePlatforms(ctx)
	}
	var out []string
	for _, p := range b.o.Platforms {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		out = []string{""}
	}
	return out, nil
}

// basePlatforms are the platforms that all base images have in common.
func (b *session) basePlatforms(ctx context.Context) ([]string, error) {
	p, err := b.parse("")
	if err != nil {
		return nil, err
	}
	var common []string
	seen := false
	for _, st := range p.Stages {
		if st.BaseFrom != nil || st.Platform != "" || b.holdsFiles(st.Base) {
			continue
		}
		ref, err := b.imageOf(st.Base)
		if err != nil {
			return nil, b.locate(st.Line, err)
		}
		if ref == scratch {
			continue
		}
		have, err := b.engine.Platforms(ctx, ref)
		if err != nil {
			return nil, b.locate(st.Line, err)
		}
		if !seen {
			common, seen = have, true
			continue
		}
		common = slices.DeleteFunc(common, func(p string) bool { return !slices.Contains(have, p) })
	}
	switch {
	case !seen:
		return nil, errs.WithHint(errs.New(errs.Invalid, "cannot tell all platforms: no stage is built on an image"), "name them with --platform")
	case len(common) == 0:
		return nil, errs.WithHint(errs.New(errs.NotFound, "the base images have no platform in common"), "name the platforms with --platform")
	}
	return common, nil
}

// StageSpan keeps the stage numbers of two platforms apart: StageInfo.Index
// is the number in the file plus a multiple of it.
const StageSpan = 1 << 16

// parse reads the Dockerfile for a platform and tells what the linter found, on an error as well.
func (b *session) parse(platform string) (*dockerfile.Plan, error) {
	p, err := dockerfile.Parse(b.text, b.name, &b.parsing, platform)
	for _, w := range p.Warnings {
		b.warn(w)
	}
	return p, err
}

func (b *session) newBuilders(platforms []string) ([]*builder, error) {
	var out []*builder
	total := 0
	for _, p := range platforms {
		one := &builder{session: b, platform: p, report: b.out, stages: map[*dockerfile.Stage]*stage{}}
		var err error
		if one.plan, err = b.parse(p); err != nil {
			return nil, err
		}
		total += one.plan.Steps
		out = append(out, one)
	}
	if len(out) == 1 {
		return out, nil
	}
	b.shared.on = true
	before := 0
	for i, one := range out {
		one.report = &platformReporter{b.out, i * StageSpan, before, total}
		before += one.plan.Steps
	}
	return out, nil
}

// platformReporter counts stages and steps over all platforms.
type platformReporter struct {
	Reporter
	stages, steps, total int
}

func (r *platformReporter) ref(s StepRef) StepRef {
	s.Stage += r.stages
	s.Number += r.steps
	s.Total = r.total
	return s
}

// Step implements Reporter.
func (r *platformReporter) Step(e StepEvent) {
	e.StepRef = r.ref(e.StepRef)
	r.Reporter.Step(e)
}

// Output implements Reporter.
func (r *platformReporter) Output(s StepRef, stderr bool, p []byte) {
	r.Reporter.Output(r.ref(s), stderr, p)
}

func (b *session) tellPlan(builders []*builder) {
	var infos []StageInfo
	steps := 0
	for i, one := range builders {
		for _, st := range one.plan.Stages {
			info := StageInfo{Index: st.Index, Name: st.Name, Base: st.Base, Steps: 1 + len(st.Commands), First: st.First}
			if len(builders) > 1 {
				info.Index += i * StageSpan
				info.First += steps
				info.Platform = stagePlatform(st, one.platform)
			}
			infos = append(infos, info)
		}
		steps += one.plan.Steps
	}
	b.out.Plan(infos, steps)
}

// stagePlatform is what a stage runs on, and, where that differs, what for.
func stagePlatform(st *dockerfile.Stage, target string) string {
	own := st.OwnPlatform()
	if own == "" || own == target {
		return target
	}
	return own + "->" + strings.TrimPrefix(target, "linux/")
}

// list makes the manifest list of what was built. tagged says that the names
// were given to the image.
func (b *session) list(ctx context.Context, r *Result, tagged bool) error {
	l := engine.ListSpec{Add: b.o.Manifest, Annotations: b.o.annotations(OfIndex, "")}
	if !tagged {
		l.Names = b.o.Tags
	}
	for _, img := range r.Images {
		l.Images = append(l.Images, img.ID)
		l.Entries = append(l.Entries, b.o.annotations(OfEntry, img.Platform))
	}
	id, names, err := b.engine.CreateList(ctx, l)
	if err != nil {
		return err
	}
	r.ImageID, r.Names = id, append(r.Names, names...)
	return nil
}

// flights are the steps of a build for several platforms.
type flights struct {
	on  bool
	mu  sync.Mutex
	all map[string]*flight
}

type flight struct {
	mu    sync.Mutex
	owner *builder
	r     cache.Record
}

// forget drops all results.
func (f *flights) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = nil
}

// begin waits until no other platform works on key, and says what came out
// there. The caller ends it with unlock.
func (f *flights) begin(b *builder, key string) (unlock func(), r cache.Record, known bool) {
	if !f.on {
		return func() {}, r, false
	}
	f.mu.Lock()
	if f.all == nil {
		f.all = map[string]*flight{}
	}
	one := f.all[key]
	if one == nil {
		one = &flight{}
		f.all[key] = one
	}
	f.mu.Unlock()
	one.mu.Lock()
	return one.mu.Unlock, one.r, one.owner != nil && one.owner != b
}

// done tells the other platforms what a step gave. The caller is between begin
// and unlock.
func (f *flights) done(b *builder, key string, r cache.Record) {
	if !f.on {
		return
	}
	f.mu.Lock()
	one := f.all[key]
	f.mu.Unlock()
	one.owner, one.r = b, r
}
