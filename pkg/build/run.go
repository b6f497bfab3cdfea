// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// runRun executes one RUN in a container of its own on top of the stage.
func (s *stage) runRun(ctx context.Context, ref StepRef, c *instructions.RunCommand) error {
	args, script := s.runArgs(c)
	network := instructions.GetNetwork(c)
	if network == "" || network == "default" {
		network = s.b.o.Network
	}
	security := instructions.GetSecurity(c)
	if security == "insecure" && !s.b.o.AllowInsecure {
		return errs.WithHint(errs.New(errs.Denied, "RUN --security=insecure is not allowed"), "build with --allow security.insecure")
	}
	if len(instructions.GetDevices(c)) > 0 {
		return errs.New(errs.Unsupported, "RUN --device is not supported: there is no device registry (CDI) here")
	}
	mounts := instructions.GetMounts(c)
	key, err := s.runKey(ctx, c, args, network, security, mounts)
	if err != nil {
		return err
	}
	created := "RUN " + s.argText() + strings.Join(args, " ")
	return s.layerStep(ctx, ref, key, created, func(sc Scratch) error {
		step := RunStep{Rootfs: sc.Rootfs(), Config: s.image.Config, Container: s.container(args, network)}
		step.Container.Security.Privileged = security == "insecure"
		return s.execute(ctx, ref, sc, step, mounts, script)
	})
}

// container is what a step runs in, but for the mounts of its own.
func (s *stage) container(args []string, network string) spec.Container {
	c := s.b.o.Run
	c.Process.Entrypoint, c.Process.Args, c.Process.Env = &[]string{}, args, s.runEnv()
	switch network {
	case "none", "host":
		c.Network.Mode = spec.NetworkMode(network)
	default:
		c.Network.Mode = spec.NetBridge
	}
	return c
}

// runArgs is the command line of a RUN. A heredoc that is the whole command is
// the shell's program; one that begins with #! is a script of its own, put at
// scriptPath.
func (s *stage) runArgs(c *instructions.RunCommand) (args []string, script string) {
	if !c.PrependShell {
		return slices.Clone(c.CmdLine), ""
	}
	line := strings.Join(c.CmdLine, " ")
	if len(c.Files) == 0 {
		return append(s.shell(), line), ""
	}
	if len(c.Files) == 1 && isBareHeredoc(line, c.Files[0].Name) {
		data := c.Files[0].Data
		if c.Files[0].Chomp {
			data = parser.ChompHeredocContent(data)
		}
		if !strings.HasPrefix(data, "#!") {
			return append(s.shell(), data), ""
		}
		return []string{scriptPath}, data
	}
	for _, f := range c.Files {
		line += "\n" + f.Data + f.Name
	}
	return append(s.shell(), line), ""
}

// scriptPath lies on the container's own /dev, which is no part of the layer.
const scriptPath = "/dev/pipes/script"

// isBareHeredoc says whether line is nothing but the word that opens the
// heredoc called name.
func isBareHeredoc(line, name string) bool {
	word, ok := strings.CutPrefix(strings.TrimSpace(line), "<<")
	return ok && strings.Trim(strings.TrimPrefix(word, "-"), `"'`) == name
}

// argText is how history shows the build arguments of a RUN.
func (s *stage) argText() string {
	if len(s.args) == 0 {
		return ""
	}
	return fmt.Sprintf("|%d %s ", len(s.args), strings.Join(s.args, " "))
}

// runEnv are the variables of a RUN beyond the image's: ARGs in scope, and the
// predefined ones given on the command line.
func (s *stage) runEnv() []string {
	env := dockerfile.Env(nil)
	for _, name := range dockerfile.PredefinedArgs {
		v, ok := s.b.parsing.Arg(name)
		if !ok && s.b.o.PassProxy && s.b.o.Getenv != nil {
			v, ok = s.b.o.Getenv(name)
		}
		if ok {
			env = env.With(name, v)
		}
	}
	for _, kv := range s.args {
		name, v, _ := strings.Cut(kv, "=")
		if _, set := dockerfile.Env(s.image.Config.Env).Get(name); !set {
			env = env.With(name, v)
		}
	}
	return env
}

// runKey names everything that a RUN's outcome depends on.
func (s *stage) runKey(ctx context.Context, c *instructions.RunCommand, args []string, network, security string, mounts []*instructions.Mount) (string, error) {
	cfg := &s.image.Config
	k := cache.NewKey(s.key, "RUN", jsonText(args), jsonText(cfg.Env), jsonText(s.args), cfg.WorkingDir, cfg.User, network, security)
	for _, f := range c.Files {
		k.Add(f.Name, f.Data)
	}
	s.addSettings(k)
	for _, m := range mounts {
		text := *m
		text.Env, text.Mode, text.UID, text.GID = nil, nil, nil, nil
		k.Add(jsonText(text))
		if m.Type != instructions.MountTypeBind {
			continue
		}
		lazy, id, err := s.b.sourceTree(ctx, m.From, s.plan.Index)
		if err != nil {
			return "", err
		}
		if id != "" {
			k.Add(id)
			continue
		}
		if err := s.addBindContent(ctx, k, lazy, m); err != nil {
			return "", err
		}
	}
	return k.Sum(), nil
}

// addSettings adds those flags of the build that change what a command can
// see or do. Limits are not among them: a step that ended well within them is
// the same without. Nothing is added where none is given.
func (s *stage) addSettings(k cache.Key) {
	r := &s.b.o.Run
	for _, given := range []struct {
		name  string
		value any
	}{{"hosts", r.Network.ExtraHosts}, {"mounts", r.Mounts}, {"security", r.Security}, {"groups", r.Process.GroupAdd}} {
		if v := reflect.ValueOf(given.value); !v.IsZero() {
			k.Add(given.name, jsonText(given.value))
		}
	}
}

func (s *stage) addBindContent(ctx context.Context, k cache.Key, lazy *lazyTree, m *instructions.Mount) error {
	items, done, err := s.bindItems(ctx, lazy, m)
	defer done()
	if err != nil {
		return err
	}
	return digestItems(k, items, false)
}

func (s *stage) bindItems(ctx context.Context, lazy *lazyTree, m *instructions.Mount) ([]item, func(), error) {
	src := m.Source
	if src == "" {
		src = "/"
	}
	return s.collect(ctx, lazy, copyJob{name: "RUN --mount", from: m.From, sources: instructions.SourcesAndDest{SourcePaths: []string{src}}})
}

// execute prepares the mounts, runs the step and removes the empty mount
// points that it left in the layer.
func (s *stage) execute(ctx context.Context, ref StepRef, sc Scratch, step RunStep, mounts []*instructions.Mount, script string) error {
	ms := &mountSet{s: s}
	defer ms.close()
	for _, m := range mounts {
		if err := ms.add(ctx, m); err != nil {
			return err
		}
	}
	if script != "" {
		if err := ms.script(script); err != nil {
			return err
		}
	}
	step.Container.Mounts = slices.Concat(step.Container.Mounts, ms.mounts)
	step.Container.Process.Env = append(step.Container.Process.Env, ms.env...)
	targets := slices.Clone(stubTargets)
	for _, m := range step.Container.Mounts {
		targets = append(targets, m.Target)
	}
	stubs, err := missingTargets(sc, targets)
	if err != nil {
		return err
	}
	step.Stdout = &outputWriter{s: s, ref: ref}
	step.Stderr = &outputWriter{s: s, ref: ref, stderr: true}
	step.Started = func(id string) {
		s.b.report.Step(StepEvent{StepRef: ref, State: StepRunning, Container: id})
	}
	code, err := s.b.engine.Run(ctx, step)
	if err != nil {
		return err
	}
	if err := removeStubs(sc.Upper(), stubs); err != nil {
		return err
	}
	if err := s.foreignProgram(sc, step, code); err != nil {
		return err
	}
	if code != 0 {
		return s.runFailed(step, code)
	}
	return nil
}

// runFailed is the error of a command that returned non-zero. Docker's sentence
// is kept for those who match it.
func (s *stage) runFailed(step RunStep, code int) error {
	args := step.Container.Process.Args
	err := errs.New(errs.Invalid, "The command '%s' returned a non-zero code: %d", strings.Join(args, " "), code) //nolint:staticcheck // Docker's sentence
	c := step.Container
	c.Process.Args, c.Process.Env, c.Mounts = s.shell()[:1], s.runEnv(), s.b.o.Run.Mounts
	return &FailedStep{err: err, top: s.top, step: RunStep{Config: step.Config, Container: c}}
}

type outputWriter struct {
	s      *stage
	ref    StepRef
	stderr bool
}

func (w *outputWriter) Write(p []byte) (int, error) {
	w.s.b.report.Output(w.ref, w.stderr, p)
	return len(p), nil
}

// stubTargets are made in every container's root by its start: the runtime's
// mount points. They belong into no layer.
var stubTargets = []string{"/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv"}

// missingTargets are the mount points, and their parents, that the image does
// not have: the deepest first.
func missingTargets(sc Scratch, targets []string) ([]string, error) {
	merged, err := sc.Merged()
	if err != nil {
		return nil, err
	}
	r, err := files.OpenRoot(merged)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, t := range targets {
		for p := path.Clean(t); p != "/" && p != "."; p = path.Dir(p) {
			if _, err := r.Lstat(p); err != nil && !slices.Contains(missing, p) {
				missing = append(missing, p)
			}
		}
	}
	sort.Slice(missing, func(i, j int) bool { return len(missing[i]) > len(missing[j]) })
	return missing, errors.Join(r.Close(), sc.Unmount())
}

// removeStubs removes what is still an empty file or directory: anything else
// was made by the command itself.
func removeStubs(upper string, stubs []string) error {
	r, err := files.OpenRoot(upper)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, p := range stubs {
		if st, err := r.Lstat(p); err != nil || st.Mode&0o170000 == 0o100000 && st.Size != 0 {
			continue
		}
		dir, base := files.SplitDest(p)
		parent, err := r.ResolveDir(dir)
		if err != nil {
			continue
		}
		_ = os.Remove(filepath.Join(parent, base)) // fails, rightly, on a directory that has something in it
	}
	return nil
}
