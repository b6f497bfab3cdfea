// SPDX-License-Identifier: Apache-2.0

package build

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/copying"
	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/runner"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/redact"
)

// state is where a stage stands after a step. Stages that start from one
// another copy it.
type state struct {
	image dockerspec.DockerOCIImage // configuration and history so far
	top   Layer
	key   string // of the cache: what led here

	origin origin
}

// stage executes one stage of a plan.
type stage struct {
	b    *builder
	plan *dockerfile.Stage
	state
	args    dockerfile.Env // ARGs in scope, with values
	lex     *shell.Lex
	cacheOn bool
	cmdSet  bool // this stage has a CMD of its own
	// unknownBase: nobody knows the variables of the image that it stands on.
	unknownBase bool

	done chan struct{}
	err  error

	wanted   chan struct{} // closed where it is not to wait for its turn
	isWanted bool
	trigger  *StepRef // that needs the stage, which is not in the plan
}

// defaultPath is the PATH of a stage FROM scratch.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// run executes the stage from FROM to its last instruction.
func (s *stage) run(ctx context.Context) error {
	if err := s.from(ctx); err != nil {
		return s.b.locate(s.plan.Line, err)
	}
	if err := s.onBuild(ctx); err != nil {
		return s.b.locate(s.plan.Line, err)
	}
	for i, cmd := range s.plan.Commands {
		ref := s.ref(1+i, firstLine(cmd))
		if err := s.step(ctx, ref, cmd); err != nil {
			return s.b.locate(ref.Line, err)
		}
	}
	return nil
}

// ref names the nth step of the stage, which stands in a line.
func (s *stage) ref(n, line int) StepRef {
	if s.trigger != nil {
		ref := *s.trigger
		ref.Line = line
		return ref
	}
	return StepRef{Stage: s.plan.Index, Number: s.plan.First + n, Total: s.b.plan.Steps, Line: line}
}

func firstLine(cmd instructions.Command) int {
	for _, r := range cmd.Location() {
		return r.Start.Line
	}
	return 0
}

// step expands and executes one instruction, once the stages that it reads are
// there, and tells the reporter.
func (s *stage) step(ctx context.Context, ref StepRef, cmd instructions.Command) error {
	if err := s.awaitStages(ctx, ref, cmd); err != nil {
		return err
	}
	started := time.Now()
	ev := StepEvent{StepRef: ref, State: StepStarted, Text: commandText(cmd)}
	s.b.report.Step(ev)
	err := ctx.Err()
	if err == nil {
		err = s.expand(cmd)
	}
	if err == nil {
		err = s.dispatch(ctx, ref, cmd)
	}
	ev.State, ev.Took, ev.Result = StepDone, time.Since(started), s.shortID()
	if err != nil {
		ev.State, ev.Err = failedState(ctx, err), err
	}
	s.b.report.Step(ev)
	return err
}

// failedState tells a step that failed from one that was ended: its command may be gone by then with
// a status of its own.
func failedState(ctx context.Context, err error) StepState {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || context.Cause(ctx) != err) {
		return StepCanceled
	}
	return StepFailed
}

// shortID is what stands behind "--->": a name for the state, like the ids of
// the intermediate images of old.
func (s *stage) shortID() string {
	if len(s.key) < 12 {
		return s.key
	}
	return s.key[:12]
}

// commandText is the instruction as the user wrote it, but for accounts in the
// URLs that the build itself opens. The command of a RUN, a variable or a label
// is the user's own text.
func commandText(cmd instructions.Command) string {
	st, ok := cmd.(interface{ String() string })
	if !ok {
		return strings.ToUpper(cmd.Name())
	}
	switch cmd.(type) {
	case *instructions.AddCommand, *instructions.CopyCommand, *instructions.OnbuildCommand:
		return redact.Text(st.String())
	}
	return st.String()
}

// env is what variables expand from: ENV wins over ARG (Dockerfile reference,
// "Using ARG variables").
func (s *stage) env() dockerfile.Env { return s.args.Over(dockerfile.Env(s.image.Config.Env)) }

func (s *stage) expand(cmd instructions.Command) error {
	word := s.expander(cmd, s.lex)
	_, isArg := cmd.(*instructions.ArgCommand) // each sees those before it: runArg
	if ex, ok := cmd.(instructions.SupportsSingleWordExpansion); ok && !isArg {
		if err := ex.Expand(word); err != nil {
			return parser.WithLocation(err, cmd.Location())
		}
	}
	if ex, ok := cmd.(instructions.SupportsSingleWordExpansionRaw); ok {
		lex := shell.NewLex('\\') // in a heredoc the backslash is never another one
		lex.SkipProcessQuotes = true
		return ex.ExpandRaw(s.expander(cmd, lex))
	}
	return nil
}

// expander replaces variables in a word of cmd, and warns of undefined ones.
func (s *stage) expander(cmd instructions.Command, lex *shell.Lex) func(string) (string, error) {
	env := s.env()
	return func(w string) (string, error) {
		out, unmatched, err := lex.ProcessWord(w, env)
		for name := range unmatched {
			s.warnUndefined(name, cmd, env.Keys())
		}
		if err != nil && strings.Contains(w, "://") {
			err = rootCause(err) // what is around it quotes the word: perhaps half an account
		}
		return out, err
	}
}

func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// warnUndefined warns of a variable, and names the one of known that was meant, perhaps.
func (s *stage) warnUndefined(name string, cmd instructions.Command, known []string) {
	if s.unknownBase || slices.Contains(dockerfile.PredefinedArgs, name) {
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	lint := s.b.plan.Lint.WithMergedConfigFromComments(cmd.Comments())
	like, _ := suggest.Search(name, known, true)
	lint.Run(&linter.RuleUndefinedVar, cmd.Location(), linter.RuleUndefinedVar.Format(name, like))
}

// from sets the stage's starting state.
func (s *stage) from(ctx context.Context) error {
	ref := s.ref(0, s.plan.Line)
	text := s.plan.Text
	if text == "" {
		text = "FROM " + s.plan.Base
	}
	s.b.report.Step(StepEvent{StepRef: ref, State: StepStarted, Text: text})
	started := time.Now()
	err := s.loadBase(ctx, ref)
	ref.Triggers += len(s.image.Config.OnBuild)
	ev := StepEvent{StepRef: ref, State: StepDone, Text: text, Err: err, Result: s.shortID(), Took: time.Since(started)}
	if err != nil {
		ev.State = failedState(ctx, err)
	}
	s.b.report.Step(ev)
	return err
}

func (s *stage) loadBase(ctx context.Context, ref StepRef) error {
	if from := s.plan.BaseFrom; from != nil {
		base := s.b.stage(from)
		s.state = base.state
		s.image = cloneImage(base.image)
		s.args = base.args
		if s.b.o.Edits.DropLabels {
			s.image.Config.Labels = nil
		}
		return nil
	}
	platform := cmp.Or(s.plan.Platform, s.b.platform)
	image, files := scratch, s.b.holdsFiles(s.plan.Base)
	var err error
	if files {
		v, _ := s.b.o.Contexts.Lookup(s.plan.Base)
		err = source.CheckBase(s.plan.Base, v)
	} else {
		image, err = s.b.imageOf(s.plan.Base)
	}
	if err != nil {
		return err
	}
	if image == scratch {
		os, arch, variant := dockerfile.SplitPlatform(orHost(platform))
		s.image = dockerspec.DockerOCIImage{Image: v1.Image{Platform: v1.Platform{OS: os, Architecture: arch, Variant: variant}}}
		s.image.RootFS.Type = "layers"
		s.image.Config.Env = []string{defaultPath}
		s.image.Config.WorkingDir = "/"
		s.key = cache.NewKey("scratch", os, arch, variant).Sum()
		s.inherit()
		if !files {
			return nil
		}
		return s.runCopy(ctx, ref, copyJob{from: s.plan.Base, Sources: copying.Sources{Name: "COPY", Paths: []string{"/"}, Dest: "/"}})
	}
	base, err := s.b.base(ctx, s.plan.Base, platform)
	if err != nil {
		return err
	}
	s.image = cloneImage(base.Config)
	s.inherit()
	s.top = base.Top
	s.key = base.ID
	s.origin = origin{base.Top, len(base.Config.RootFS.DiffIDs), len(base.Config.History)}
	return nil
}

// inherit applies what the command line says about the configuration of base
// images.
func (s *stage) inherit() {
	if s.b.o.Edits.DropLabels {
		s.image.Config.Labels = nil
	}
	s.image.Config.Env = dockerfile.Env(s.image.Config.Env).Over(s.b.o.Edits.Env)
}

func cloneImage(img dockerspec.DockerOCIImage) dockerspec.DockerOCIImage {
	c := img
	c.Config.Env = slices.Clone(img.Config.Env)
	c.Config.Cmd = slices.Clone(img.Config.Cmd)
	c.Config.Entrypoint = slices.Clone(img.Config.Entrypoint)
	c.Config.Shell = slices.Clone(img.Config.Shell)
	c.Config.OnBuild = slices.Clone(img.Config.OnBuild)
	c.Config.ExposedPorts = cloneMap(img.Config.ExposedPorts)
	c.Config.Volumes = cloneMap(img.Config.Volumes)
	c.Config.Labels = cloneMap(img.Config.Labels)
	c.RootFS.DiffIDs = slices.Clone(img.RootFS.DiffIDs)
	c.History = slices.Clone(img.History)
	return c
}

func cloneMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return nil
	}
	c := make(map[string]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// onBuild runs the triggers of what the stage stands on, an image or another stage. They
// are not handed on.
func (s *stage) onBuild(ctx context.Context) error {
	triggers := s.image.Config.OnBuild
	s.image.Config.OnBuild = nil
	ref := s.ref(0, s.plan.Line)
	ref.Trigger = true
	ref.Triggers += len(triggers)
	for _, t := range triggers {
		ref.Triggers--
		cmds, err := dockerfile.Trigger(t)
		if err != nil {
			return errs.New(errs.Invalid, "bad ONBUILD trigger %q of %s: %v", redact.Text(t), s.plan.Base, err)
		}
		for _, cmd := range cmds {
			if err := s.step(ctx, ref, cmd); err != nil {
				return err
			}
		}
	}
	return nil
}

// finishStep records what an instruction did: history always, a layer where
// files changed. at is when it was done first: a cached build gives the image
// that it gave before.
func (s *stage) finishStep(createdBy string, r cache.Record) {
	at := r.Created
	if s.b.o.Epoch != nil {
		at = *s.b.o.Epoch
	}
	s.image.History = append(s.image.History, v1.History{CreatedBy: createdBy, EmptyLayer: r.Empty, Comment: "proa", Created: &at})
	s.image.Created = &at
	if !r.Empty {
		s.top = r.Layer
		s.image.RootFS.Type = "layers"
		s.image.RootFS.DiffIDs = append(s.image.RootFS.DiffIDs, digestOf(r.Layer.DiffID))
	}
}

// configStep records an instruction that only changes the configuration. key
// says what it was; text goes into the history.
func (s *stage) configStep(ctx context.Context, ref StepRef, key, text string) error {
	return s.layerStep(ctx, ref, cache.NewKey(s.key, "config", key).Sum(), text, nil)
}

var errNoFiles = errors.New("no files")

// layerStep runs work in a new layer, or takes the layer that the cache has
// for key. Without work no file can change. createdBy goes into the history.
func (s *stage) layerStep(ctx context.Context, ref StepRef, key, createdBy string, work func(engine.Scratch) error) error {
	return s.doStep(ctx, ref, stepWork{key: key, createdBy: createdBy, work: work})
}

// stepWork is what a step does.
type stepWork struct {
	key, createdBy string
	work           func(engine.Scratch) error // nil: no file can change
	// link: the layer depends on nothing below it, and key says so.
	link bool
}

func (s *stage) doStep(ctx context.Context, ref StepRef, w stepWork) error {
	key, createdBy, work := w.key, w.createdBy, w.work
	if e := s.b.layerEpoch(); e != nil && work != nil {
		key = cache.NewKey(key, "epoch", strconv.FormatInt(e.Unix(), 10)).Sum() // the times of the files differ
	}
	unlock, r, known := s.b.shared.begin(s.b, key)
	defer unlock()
	known = known && s.place(&r, w.link)
	if !known && s.cacheOn {
		r, known = s.lookup(ctx, key, w.link)
	}
	if known {
		s.endStep(w, key, r)
		s.b.report.Step(StepEvent{StepRef: ref, State: StepCached, Result: s.shortID()})
		return nil
	}
	r = cache.Record{Empty: true, Command: createdBy, Created: s.b.start}
	if work != nil {
		var err error
		if r.Layer, r.Empty, err = s.newLayer(ctx, w); err != nil {
			return err
		}
	}
	s.endStep(w, key, r)
	s.b.shared.done(s.b, key, r)
	return s.b.cache.Put(key, r)
}

// endStep moves the stage on to what the step gave.
func (s *stage) endStep(w stepWork, key string, r cache.Record) {
	if w.link {
		s.key = cache.NewKey(s.key, "link", key).Sum()
	} else {
		s.key = key
	}
	s.finishStep(w.createdBy, r)
	s.note(key, r)
}

func (s *stage) newLayer(ctx context.Context, w stepWork) (Layer, bool, error) {
	start := s.b.engine.NewScratch
	if w.link {
		start = s.b.engine.NewDetached
	}
	sc, err := start(ctx, s.top)
	if err != nil {
		return Layer{}, false, err
	}
	if err := w.work(sc); err != nil {
		if errors.Is(err, errNoFiles) {
			return Layer{}, true, sc.Discard()
		}
		var failed *runner.Failed
		if s.b.o.KeepFailed && errors.As(err, &failed) {
			return Layer{}, false, s.keepFailed(ctx, sc, err)
		}
		return Layer{}, false, joinDiscard(err, sc)
	}
	if err := sc.Unmount(); err != nil {
		return Layer{}, false, joinDiscard(err, sc)
	}
	layer, err := sc.Commit(ctx, s.b.layerEpoch())
	if err != nil {
		return Layer{}, false, joinDiscard(err, sc)
	}
	return layer, false, nil
}

// joinDiscard drops a scratch after err. The error stays itself where that
// works: its hint and kind are for the user.
func joinDiscard(err error, sc engine.Scratch) error {
	if derr := sc.Discard(); derr != nil {
		return errors.Join(err, derr)
	}
	return err
}

// keepFailed makes an image without a name of what a failed RUN left, so that
// the usual commands look inside and remove it. It starts a shell with the
// step's user, directory and variables.
func (s *stage) keepFailed(ctx context.Context, sc engine.Scratch, failure error) error {
	layer, err := sc.Commit(ctx, nil)
	if err != nil {
		return errors.Join(failure, joinDiscard(err, sc))
	}
	img := cloneImage(s.image)
	img.Created = s.b.now()
	img.RootFS.Type = "layers"
	img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, digestOf(layer.DiffID))
	img.History = append(img.History, v1.History{CreatedBy: "failed RUN", Comment: "proa", Created: img.Created})
	img.Config.Entrypoint, img.Config.Cmd = nil, s.shell()[:1]
	img.Config.Healthcheck = nil
	// The values of ARGs are what the shell needs to repeat the step, and the
	// history of an image has them anyway. Proxies come from the host, perhaps with
	// a password: they do not belong into an image that can be pushed.
	for _, kv := range s.runEnv() {
		name, v, _ := strings.Cut(kv, "=")
		if slices.Contains(dockerfile.PredefinedArgs, name) {
			continue
		}
		img.Config.Env = dockerfile.Env(img.Config.Env).With(name, v)
	}
	id, _, err := s.b.engine.CreateImage(ctx, engine.ImageSpec{Config: img, Top: layer})
	if err != nil {
		return errors.Join(failure, err)
	}
	return errs.WithHint(failure, "look inside with: proa run --rm -it %s; then: proa rmi %s", id[:12], id[:12])
}
