// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// builder is one build under way.
type builder struct {
	o      Options
	engine Engine
	report Reporter
	cache  *cache
	plan   *plan
	name   string // of the Dockerfile, for messages
	text   []byte
	tmp    string
	// secrets is where the directories for secrets are made, in memory.
	secrets string
	main    *tree
	start   time.Time

	stages map[*stagePlan]*stage
	slots  chan struct{} // one per step that may run at once

	mu     sync.Mutex
	warned map[Warning]bool
	warns  []Warning
	baseMu sync.Mutex // held while an image is pulled
	bases  map[string]*Base
	trees  map[string]*lazyTree // contexts and mounted stages
}

// Build executes a Dockerfile and creates the image that its target stage
// describes. With CheckOnly engine may be nil. On an error everything that was started is gone, layers of
// finished steps stay in the cache.
func Build(ctx context.Context, o Options, engine Engine, report Reporter) (*Result, error) {
	dir, secrets := os.TempDir(), os.TempDir()
	if engine != nil {
		dir, secrets = filepath.Join(engine.CacheDir(), "tmp"), engine.SecretDir()
	}
	tmp, removeTmp, err := workDir(dir)
	if err != nil {
		return nil, err
	}
	defer removeTmp()
	b := &builder{
		o: o, engine: engine, report: report, tmp: tmp, secrets: secrets, start: time.Now().UTC(),
		stages: map[*stagePlan]*stage{}, warned: map[Warning]bool{}, bases: map[string]*Base{}, trees: map[string]*lazyTree{},
	}
	defer b.closeTrees()
	if err := b.checkRun(ctx); err != nil {
		return nil, err
	}
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	if o.CheckOnly {
		return &Result{Warnings: b.warns}, nil
	}
	b.cache = &cache{dir: engine.CacheDir(), exists: engine.LayerExists, off: o.NoCache}
	if err := b.runStages(ctx); err != nil {
		return nil, err
	}
	return b.finish(ctx)
}

// checkRun refuses what RUN steps cannot have here before the first one runs.
func (b *builder) checkRun(ctx context.Context) error {
	if b.engine == nil || reflect.ValueOf(b.o.Run).IsZero() {
		return nil
	}
	return b.engine.CheckRun(ctx, b.o.Run)
}

// open loads the context and the Dockerfile and makes the plan.
func (b *builder) open(ctx context.Context) error {
	t, err := b.o.Context.open(ctx, b.tmp)
	if err != nil {
		return err
	}
	b.main = t
	b.trees["context"] = readyTree(t)
	if b.text, b.name, err = t.dockerfile(&b.o); err != nil {
		return err
	}
	if b.plan, err = parsePlan(b.text, b.name, &b.o); err != nil {
		return err
	}
	for _, w := range b.plan.warnings {
		b.warn(w)
	}
	if b.o.MeasureContext && b.o.Context.Dir != "" {
		if err := b.measureContext(); err != nil {
			return err
		}
	}
	infos := make([]StageInfo, 0, len(b.plan.stages))
	for _, st := range b.plan.stages {
		infos = append(infos, StageInfo{Index: st.index, Name: st.name, Base: st.base, Steps: 1 + len(st.commands)})
	}
	b.report.Plan(infos, b.plan.steps)
	return nil
}

// measureContext adds up the sizes that a context of this kind would have as an
// archive: a header of 512 bytes per file, contents rounded up.
func (b *builder) measureContext() error {
	r, err := openRoot(b.main.root)
	if err != nil {
		return err
	}
	defer r.Close()
	w := &walker{src: r, filter: filter{ignore: b.main.ignore}}
	if err := w.add("", ""); err != nil {
		return err
	}
	size := int64(1024)
	for i := range w.entries {
		size += 512
		if st := &w.entries[i].st; st.Mode&unix.S_IFMT == unix.S_IFREG {
			size += (st.Size + 511) &^ 511
		}
	}
	b.report.Context(size)
	return nil
}

func (b *builder) warn(w Warning) {
	b.mu.Lock()
	seen := b.warned[w]
	if !seen {
		b.warned[w] = true
		b.warns = append(b.warns, w)
	}
	b.mu.Unlock()
	if !seen {
		b.report.Warn(w)
	}
}

// runStages executes every stage as soon as the ones it needs are done. The
// first failure cancels the others.
func (b *builder) runStages(ctx context.Context) error {
	jobs := b.o.Jobs
	if jobs <= 0 {
		jobs = runtime.NumCPU()
	}
	b.slots = make(chan struct{}, jobs)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, p := range b.plan.stages {
		b.stages[p] = b.newStage(p)
	}
	var wg sync.WaitGroup
	for _, p := range b.plan.stages {
		s := b.stages[p]
		wg.Go(func() {
			defer close(s.done)
			if s.err = b.runStage(ctx, s); s.err != nil {
				cancel(s.err)
			}
		})
	}
	wg.Wait()
	return b.firstError()
}

func (b *builder) newStage(p *stagePlan) *stage {
	s := &stage{b: b, plan: p, lex: shell.NewLex(b.plan.escape), done: make(chan struct{}), cacheOn: !b.o.NoCache}
	for _, name := range b.o.NoCacheFilter {
		if strings.EqualFold(name, p.name) {
			s.cacheOn = false
		}
	}
	return s
}

func (b *builder) runStage(ctx context.Context, s *stage) error {
	for _, d := range s.plan.deps {
		dep := b.stages[d]
		<-dep.done
		if dep.err != nil {
			return errDependency
		}
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.run(ctx)
}

var errDependency = errors.New("a stage that this one needs failed")

// firstError is the failure to tell: not the ones that follow from it.
func (b *builder) firstError() error {
	var other error
	for _, p := range b.plan.stages {
		err := b.stages[p].err
		switch {
		case err == nil:
		case errors.Is(err, errDependency), errors.Is(err, context.Canceled):
			other = err
		default:
			return err
		}
	}
	return other
}

func (b *builder) stage(p *stagePlan) *stage { return b.stages[p] }

// base resolves an image once per build, so that all stages see the same.
func (b *builder) base(ctx context.Context, ref, platform string) (*Base, error) {
	key := ref + "\x00" + platform
	b.baseMu.Lock()
	defer b.baseMu.Unlock()
	if base, ok := b.bases[key]; ok {
		return base, nil
	}
	if v, ok := b.o.Contexts[ref]; ok {
		image, isImage := strings.CutPrefix(v, "docker-image://")
		if !isImage {
			return nil, errs.New(errs.Unsupported, "build context %q is not an image: FROM needs docker-image://NAME", ref)
		}
		ref = image
	}
	policy := b.o.Pull
	if policy == "" {
		policy = spec.PullMissing
	}
	base, err := b.engine.Base(ctx, ref, platform, policy)
	if err != nil {
		return nil, err
	}
	b.bases[key] = base
	return base, nil
}

func (b *builder) platformOr(p string) string {
	if p != "" {
		return p
	}
	if b.o.Platform != "" {
		return b.o.Platform
	}
	return "linux/" + runtime.GOARCH
}

// now is the time that images and history show: fixed in a reproducible build.
func (b *builder) now() *time.Time {
	if b.o.Epoch != nil {
		return b.o.Epoch
	}
	t := b.start
	return &t
}

// locate points err at a line of the Dockerfile unless it already says one.
func (b *builder) locate(line int, err error) error {
	var ee *errs.ExitError
	if errors.As(err, &ee) || line == 0 || errors.Is(err, context.Canceled) || errors.Is(err, errDependency) {
		return err
	}
	kind := errs.KindOf(err)
	return atLine(b.name, b.text, line, kind, err)
}

// finish creates the image of the target stage.
func (b *builder) finish(ctx context.Context) (*Result, error) {
	s := b.stages[b.plan.target]
	if b.o.Output.Kind != "" {
		return &Result{Top: s.top, Warnings: b.warns}, b.export(ctx, s.top)
	}
	img := cloneImage(s.image)
	if img.Created == nil || b.o.Epoch != nil {
		img.Created = b.now()
	}
	b.edit(&img)
	top, err := s.top, error(nil)
	switch {
	case b.o.Edits.SquashAll:
		top, err = b.squash(ctx, s, origin{}, &img)
	case b.o.Squash:
		top, err = b.squash(ctx, s, s.origin, &img)
	}
	if err != nil {
		return nil, err
	}
	if b.o.Edits.DropHistory {
		img.History = nil
	}
	annotations := b.o.Annotations
	if b.o.Edits.NoteCreation {
		annotations = cloneMap(annotations)
		setDefault(&annotations, v1.AnnotationCreated, img.Created.Format(time.RFC3339Nano))
	}
	id, names, err := b.engine.CreateImage(ctx, ImageSpec{Config: img, Top: top, Names: b.o.Tags, Annotations: annotations})
	if err != nil {
		return nil, err
	}
	return &Result{ImageID: id, Names: names, Config: img, Top: top, Warnings: b.warns}, nil
}

// edit applies what the command line says about the finished image.
func (b *builder) edit(img *dockerspec.DockerOCIImage) {
	c, e := &img.Config, &b.o.Edits
	for _, name := range e.UnsetLabels {
		delete(c.Labels, name)
	}
	c.Env = slices.DeleteFunc(c.Env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(e.UnsetEnv, name)
	})
	if len(b.o.Labels) > 0 && c.Labels == nil {
		c.Labels = map[string]string{}
	}
	maps.Copy(c.Labels, b.o.Labels)
}

func setDefault(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	if _, ok := (*m)[key]; !ok {
		(*m)[key] = value
	}
}

// layerEpoch is the time that no file of a new layer may be newer than.
func (b *builder) layerEpoch() *time.Time {
	if b.o.KeepTimes {
		return nil
	}
	return b.o.Epoch
}

func digestOf(s string) digest.Digest { return digest.Digest(s) }
