// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/build/runner"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/rmtree"
	"github.com/proa-containers/proa/pkg/spec"
)

// session is one call of Build: what the builders of all its platforms share.
type session struct {
	o       Options
	parsing dockerfile.Options
	engine  engine.Engine
	out     Reporter
	cache   *cache.Steps
	name    string // of the Dockerfile, for messages
	text    []byte
	tmp     string
	runs    runner.Host
	main    *source.Tree
	hide    *files.Dir // everything that Proa keeps: part of no context
	start   time.Time
	slots   *slots // stages that may run at once
	shared  flights
	layers  *engine.Lazy
	sources []*cache.Source
	done    []doneStep
	strict  bool // known steps count only with their layers

	mu     sync.Mutex
	read   int64 // bytes of the context that steps have asked for
	warned map[Warning]bool
	warns  []Warning
	baseMu sync.Mutex // held while an image is pulled
	bases  map[string]*engine.Base
	trees  map[string]*source.Lazy // contexts and mounted stages
}

// builder executes the Dockerfile for one platform.
type builder struct {
	*session
	platform string // empty: the host's
	report   Reporter
	plan     *dockerfile.Plan
	stages   map[*dockerfile.Stage]*stage // of the plan
	needs    needs
	outline  Outline // with CheckOnly
}

// Build executes a Dockerfile and creates the image that its target stage
// describes; for several platforms one image each, and a manifest list of
// them. With CheckOnly e may be nil. On an error everything that was started is gone, layers of
// finished steps stay in the cache.
func Build(ctx context.Context, o Options, e engine.Engine, report Reporter) (*Result, error) {
	if err := o.setBuiltin(); err != nil {
		return nil, err
	}
	if err := o.checkAnnotations(); err != nil {
		return nil, err
	}
	tmp, removeTmp, err := workDir(ctx, &o, e)
	if err != nil {
		return nil, err
	}
	b := &session{
		o: o, parsing: o.parsing(), out: report, tmp: tmp, start: time.Now().UTC(),
		warned: map[Warning]bool{}, bases: map[string]*engine.Base{}, trees: map[string]*source.Lazy{},
	}
	defer func() {
		removeTmp()
		b.sweep(ctx, e)
	}()
	if e != nil {
		b.layers = engine.NewLazy(e)
		b.engine = b.layers
		b.hide = files.FindDir(e.DataDir())
		b.runs = runner.Host{
			Engine: b.engine, Tmp: tmp, SecretDir: e.SecretDir(), Secrets: o.Secrets, SSH: o.SSH, Getenv: o.Getenv,
			CacheNamespace: o.CacheNamespace,
		}
	}
	defer b.closeTrees()
	if err := b.check(ctx); err != nil {
		return nil, err
	}
	builders, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	if o.CheckOnly {
		return &Result{Warnings: b.warns, Targets: builders[0].targets(), Outline: &builders[0].outline}, nil
	}
	b.cache = &cache.Steps{Dir: e.CacheDir(), Off: o.NoCache}
	b.openCaches(ctx)
	defer b.closeCaches()
	for {
		r, err := b.attempt(ctx, builders)
		if err == nil || !b.giveUp(err) {
			return r, err
		}
		b.tellPlan(builders)
	}
}

// workDir makes the private directory of a build, which remove ends, and clears away what
// killed builds have left. A check has no engine: it is told where, or takes the
// directory for temporary files.
func workDir(ctx context.Context, o *Options, e engine.Engine) (dir string, remove func(), err error) {
	switch {
	case e != nil:
		if err := cache.Clean(ctx, e.SecretDir()); err != nil {
			return "", nil, err
		}
		return cache.WorkDir(ctx, filepath.Join(e.CacheDir(), "tmp"))
	case o.CheckDir != "":
		return cache.WorkDir(ctx, o.CheckDir)
	}
	dir, err = os.MkdirTemp("", "proa-check-")
	return dir, func() { _ = rmtree.Remove(dir) }, err
}

// sweep removes the layers of steps that this build has made again. What it cannot
// remove, a later build or prune does.
func (b *session) sweep(ctx context.Context, e engine.Engine) {
	if b.cache != nil && b.cache.Replaced() && ctx.Err() == nil {
		_ = cache.Sweep(ctx, e.CacheDir(), e)
	}
}

// parsing is what of o concerns the reading of the Dockerfile.
func (o *Options) parsing() dockerfile.Options {
	contexts := o.Contexts
	return dockerfile.Options{
		From: o.From, Target: o.Target, AllStages: o.AllStages, Args: o.Args, Getenv: o.Getenv,
		Named: func(name string) bool { _, ok := contexts.Lookup(name); return ok },
	}
}

func (b *session) attempt(ctx context.Context, builders []*builder) (*Result, error) {
	if err := b.run(ctx, builders); err != nil {
		return nil, err
	}
	if err := b.lintError(builders); err != nil { // of what was found on the way
		return nil, err
	}
	r, err := b.finish(ctx, builders)
	if err != nil {
		return nil, err
	}
	return r, b.exportCaches(ctx)
}

// check refuses what could only fail at the end, or in the middle.
func (b *session) check(ctx context.Context) error {
	if b.engine == nil {
		return nil
	}
	names := b.o.Tags
	if b.o.Manifest != "" {
		names = append(slices.Clone(names), b.o.Manifest)
	}
	if err := b.engine.CheckNames(names); err != nil {
		return err
	}
	if reflect.ValueOf(b.o.Run).IsZero() {
		return nil
	}
	return b.engine.CheckRun(ctx, b.o.Run)
}

// open loads the context and the Dockerfile and plans for every platform.
func (b *session) open(ctx context.Context) ([]*builder, error) {
	t, err := b.o.Context.Open(ctx, b.o.Web, b.tmp)
	if err != nil {
		return nil, err
	}
	b.main, t.Hide = t, b.hide
	b.trees["context"] = source.Ready(t)
	where := source.Dockerfile{Paths: b.o.Dockerfiles, Inline: b.o.Inline, IgnoreFile: b.o.IgnoreFile}
	if b.text, b.name, err = t.Dockerfile(ctx, where); err != nil {
		return nil, err
	}
	if t.Ignore != nil && !t.Ignore.Exclusions() { // a pattern with "!" could bring a part of it back
		b.parsing.Ignored = func(path string) bool {
			out, err := t.Ignore.MatchesOrParentMatches(path)
			return err == nil && out
		}
	}
	platforms, err := b.platforms(ctx)
	if err != nil {
		return nil, err
	}
	builders, err := b.newBuilders(platforms)
	if err != nil {
		return nil, err
	}
	if err := b.sourceDate(builders); err != nil {
		return nil, err
	}
	if err := b.lintError(builders); err != nil && !b.o.CheckOnly {
		return nil, err
	}
	for _, one := range builders {
		one.plan.Lint.Warn = b.warnLint
		if b.o.CheckOnly {
			if err := one.check(); err != nil {
				return nil, err
			}
		}
	}
	if b.o.MeasureContext && b.o.Context.Dir != "" {
		if err := b.measureContext(); err != nil {
			return nil, err
		}
	}
	b.tellPlan(builders)
	return builders, nil
}

// sourceDate takes the time of the image from "ARG SOURCE_DATE_EPOCH=N" before the first FROM,
// where the user has said nothing else.
func (b *session) sourceDate(builders []*builder) error {
	if v, ok := builders[0].plan.Global.Get("SOURCE_DATE_EPOCH"); ok && v != "" && b.o.Epoch == nil {
		t, err := ParseEpoch(v)
		if err != nil {
			return errs.Wrap(err, "read", "ARG SOURCE_DATE_EPOCH")
		}
		b.o.Epoch = t
	}
	if b.o.Epoch == nil && b.o.NeedEpoch {
		return errs.WithHint(errs.New(errs.Invalid, "--rewrite-timestamp needs a time"), "add --source-date-epoch SECONDS")
	}
	return nil
}

// ParseEpoch reads a time in seconds since 1970.
func ParseEpoch(v string) (*time.Time, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return nil, errs.New(errs.Invalid, "invalid timestamp %q: it should be seconds since 1970", v)
	}
	t := time.Unix(n, 0).UTC()
	return &t, nil
}

// measureContext adds up the sizes that a context of this kind would have as an
// archive: a header of 512 bytes per file, contents rounded up.
func (b *session) measureContext() error {
	r, err := files.OpenRoot(b.main.Root)
	if err != nil {
		return err
	}
	defer r.Close()
	// Files that the user cannot read do not stop the build: perhaps no step needs them.
	w := &files.Walker{Root: r, Filter: files.Filter{Ignore: b.main.Ignore, Hide: b.hide}, Denied: true}
	if err := w.Add("", ""); err != nil {
		return err
	}
	size := int64(1024)
	for i := range w.Entries {
		size += 512
		if st := &w.Entries[i].Stat; st.Mode&unix.S_IFMT == unix.S_IFREG {
			size += (st.Size + 511) &^ 511
		}
	}
	b.out.Context(size)
	return nil
}

// muchRead is the size from which a build tells the user how much it reads.
const muchRead = 100 << 20

// tellRead adds the bytes of the context that a step is about to read. It tells the user
// once when that is a lot: it takes time, and is often more than the image needs.
func (b *session) tellRead(size int64) {
	if b.o.MeasureContext {
		return // the reporter knows already
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.read
	b.read += size
	if before < muchRead && b.read >= muchRead {
		b.out.Context(b.read)
	}
}

// lintError is what a Dockerfile with "# check=error=true" asks for.
func (b *session) lintError(builders []*builder) error {
	for _, one := range builders {
		if err := one.plan.Lint.Error(); err != nil {
			return errs.New(errs.Invalid, "%v", err)
		}
	}
	return nil
}

// warnLint takes what the linter finds while stages run; mu is held.
func (b *session) warnLint(rule, _, url, msg string, at []parser.Range) {
	w := Warning{Rule: rule, Message: msg, URL: url}
	if len(at) > 0 {
		w.Line = at[0].Start.Line
	}
	b.warnOnce(w)
}

func (b *session) warn(w Warning) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.warnOnce(w)
}

func (b *session) warnOnce(w Warning) {
	if b.warned[w] {
		return
	}
	b.warned[w] = true
	b.warns = append(b.warns, w)
	b.out.Warn(w)
}

// run executes every stage of every platform as soon as the ones it needs are
// done. The first failure cancels the others.
func (b *session) run(ctx context.Context, builders []*builder) error {
	jobs := b.o.Jobs
	if jobs <= 0 {
		// While one waits for the disk, or for its process to begin or end, another one
		// computes.
		jobs = runtime.NumCPU() + 1
	}
	b.slots = newSlots(jobs)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, one := range builders {
		for _, p := range one.plan.Stages {
			one.stages[p] = one.newStage(p)
		}
		for _, p := range one.plan.Stages {
			s := one.stages[p]
			wg.Go(func() {
				defer close(s.done)
				if s.err = one.runStage(ctx, s); s.err != nil {
					cancel(s.err)
				}
			})
		}
	}
	wg.Wait()
	return firstError(builders)
}

func (b *builder) newStage(p *dockerfile.Stage) *stage {
	s := &stage{b: b, plan: p, lex: shell.NewLex(b.plan.Escape), done: make(chan struct{}), wanted: make(chan struct{}), cacheOn: !b.o.NoCache}
	for _, name := range b.o.NoCacheFilter {
		if strings.EqualFold(name, p.Name) {
			s.cacheOn = false
		}
	}
	return s
}

// runStage executes a stage once the one that it starts from is done. Others that
// it needs are waited for by the steps that read them, so that a stage can install
// its packages while another one compiles. With one job it comes after all that
// stand before it, unless one of them waits for it: the steps come in the order of the
// file.
func (b *builder) runStage(ctx context.Context, s *stage) error {
	for _, p := range b.plan.Stages {
		if p == s.plan {
			break
		}
		if p != s.plan.BaseFrom && b.slots.all > 1 {
			continue
		}
		before := b.stages[p]
		select {
		case <-before.done:
		case <-s.wanted:
			if p != s.plan.BaseFrom {
				continue
			}
			<-before.done
		}
		if before.err != nil {
			return errDependency
		}
	}
	b.slots.begin()
	defer b.slots.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.run(ctx)
}

// errDependency is the error of a stage that waited for one that failed. That one
// has the reason.
var errDependency = errors.New("a stage that this one needs failed")

// firstError is the failure to tell: not the ones that follow from it. Where the
// caller has cancelled the build, that is what there is to tell.
func firstError(builders []*builder) error {
	var cancelled error
	for _, b := range builders {
		for _, s := range b.needs.all(b) {
			err := s.err
			switch {
			case err == nil:
			case errors.Is(err, errDependency):
			case errors.Is(err, context.Canceled):
				cancelled = err
			case len(builders) > 1:
				return errs.Wrap(err, "build for", b.platform)
			default:
				return err
			}
		}
	}
	return cancelled
}

// scratch is the name of no image.
const scratch = "scratch"

// base resolves an image once per build, so that all stages see the same.
func (b *session) base(ctx context.Context, ref, platform string) (*engine.Base, error) {
	key := ref + "\x00" + platform
	b.baseMu.Lock()
	defer b.baseMu.Unlock()
	if base, ok := b.bases[key]; ok {
		return base, nil
	}
	image, err := b.imageOf(ref)
	if err != nil {
		return nil, err
	}
	policy := b.o.Pull
	if policy == "" {
		policy = spec.PullMissing
	}
	base, err := b.engine.Base(ctx, image, platform, policy)
	if err != nil {
		return nil, err
	}
	b.bases[key] = base
	return base, nil
}

// imageOf resolves a name in the Dockerfile to the image that the engine takes, or scratch.
func (b *session) imageOf(ref string) (string, error) {
	if ref == scratch {
		return ref, nil
	}
	if v, ok := b.o.Contexts.Lookup(ref); ok {
		return source.ContextImage(ref, v)
	}
	if ref == b.o.From { // the user's own word
		return ref, nil
	}
	return ref, source.CheckImage(ref)
}

func orHost(platform string) string {
	if platform == "" {
		return dockerfile.HostPlatform()
	}
	return platform
}

// now is the time that images and history show: fixed in a reproducible build.
func (b *session) now() *time.Time {
	if b.o.Epoch != nil {
		return b.o.Epoch
	}
	t := b.start
	return &t
}

// locate points err at a line of the Dockerfile unless it already says one.
func (b *session) locate(line int, err error) error {
	var ee *errs.ExitError
	if errors.As(err, &ee) || line == 0 || errors.Is(err, context.Canceled) || errors.Is(err, errDependency) {
		return err
	}
	kind := errs.KindOf(err)
	return dockerfile.AtLine(b.name, b.text, line, kind, err)
}
