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
	env := envList(nil)
	for _, name := range predefinedArgs {
		v, ok := buildArg(&s.b.o, name)
		if !ok && s.b.o.PassProxy && s.b.o.Getenv != nil {
			v, ok = s.b.o.Getenv(name)
		}
		if ok {
			env = env.with(name, v)
		}
	}
	for _, kv := range s.args {
		name, v, _ := strings.Cut(kv, "=")
		if _, set := envList(s.image.Config.Env).Get(name); !set {
			env = env.with(name, v)
		}
	}
	return env
}

// runKey names everything that a RUN's outcome depends on.
func (s *stage) runKey(ctx context.Context, c *instructions.RunCommand, args []string, network, security string, mounts []*instructions.Mount) (string, error) {
	cfg := &s.image.Config
	k := newKey(s.key, "RUN", jsonText(args), jsonText(cfg.Env), jsonText(s.args), cfg.WorkingDir, cfg.User, network, security)
	for _, f := range c.Files {
		k.add(f.Name, f.Data)
	}
	s.addSettings(k)
	for _, m := range mounts {
		text := *m
		text.Env, text.Mode, text.UID, text.GID = nil, nil, nil, nil
		k.add(jsonText(text))
		if m.Type != instructions.MountTypeBind {
			continue
		}
		lazy, id, err := s.b.sourceTree(m.From, s.plan.index)
		if err != nil {
			return "", err
		}
		if id != "" {
			k.add(id)
			continue
		}
		if err := s.addBindContent(ctx, k, lazy, m); err != nil {
			return "", err
		}
	}
	return k.sum(), nil
}

// addSettings adds those flags of the build that change what a command can
// see or do. Limits are not among them: a step that ended well within them is
// the same without. Nothing is added where none is given.
func (s *stage) addSettings(k keyer) {
	r := &s.b.o.Run
	for _, given := range []struct {
		name  string
		value any
	}{{"hosts", r.Network.ExtraHosts}, {"mounts", r.Mounts}, {"security", r.Security}, {"groups", r.Process.GroupAdd}} {
		if v := reflect.ValueOf(given.value); !v.IsZero() {
			k.add(given.name, jsonText(given.value))
		}
	}
}

func (s *stage) addBindContent(ctx context.Context, k keyer, lazy *lazyTree, m *instructions.Mount) error {
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
	var err error = errs.New(errs.Invalid, "The command '%s' returned a non-zero code: %d", strings.Join(args, " "), code) //nolint:staticcheck // Docker's sentence
	if !s.b.o.KeepFailed {
		err = errs.WithHint(err, "proa build --debug opens a shell in the state before the failed step; --keep-failed keeps the state after it")
	}
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
	r, err := openRoot(merged)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, t := range targets {
		for p := path.Clean(t); p != "/" && p != "."; p = path.Dir(p) {
			if _, err := r.lstat(p); err != nil && !slices.Contains(missing, p) {
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
	r, err := openRoot(upper)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, p := range stubs {
		if st, err := r.lstat(p); err != nil || st.Mode&0o170000 == 0o100000 && st.Size != 0 {
			continue
		}
		dir, base := splitDest(p)
		parent, err := r.resolveDir(dir)
		if err != nil {
			continue
		}
		_ = os.Remove(filepath.Join(parent, base)) // fails, rightly, on a directory that has something in it
	}
	return nil
}

// mountSet turns the --mount options of a RUN into mounts and undoes what it
// made for them.
type mountSet struct {
	s       *stage
	mounts  []spec.Mount
	env     []string
	closers []func() error
}

func (ms *mountSet) close() {
	for _, c := range slices.Backward(ms.closers) {
		_ = c() // private copies below the build's own directory, removed with it
	}
}

func (ms *mountSet) add(ctx context.Context, m *instructions.Mount) error {
	target := m.Target
	if target != "" && !path.IsAbs(target) {
		target = path.Join("/", ms.s.image.Config.WorkingDir, target)
	}
	switch m.Type {
	case instructions.MountTypeTmpfs:
		ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountTmpfs, Target: target, TmpfsSize: m.SizeLimit})
		return nil
	case instructions.MountTypeSecret:
		return ms.secret(m, target)
	case instructions.MountTypeSSH:
		return ms.ssh(m, target)
	case instructions.MountTypeCache:
		return ms.cacheDir(ctx, m, target)
	}
	return ms.bind(ctx, m, target)
}

// bind mounts files of a stage, an image or the context. A read-only mount of a
// stage is the mounted layers themselves; all else is a copy, since what the
// step writes there is thrown away.
func (ms *mountSet) bind(ctx context.Context, m *instructions.Mount, target string) error {
	b := ms.s.b
	lazy, id, err := b.sourceTree(m.From, ms.s.plan.index)
	if err != nil {
		return err
	}
	if id != "" && m.ReadOnly {
		t, err := lazy.get(ctx)
		if err != nil {
			return err
		}
		src, err := resolveBelow(t.root, m.Source)
		if err != nil {
			return errs.New(errs.NotFound, "RUN --mount: source %q not found in %q", m.Source, m.From)
		}
		ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: src, Target: target, ReadOnly: true})
		return nil
	}
	src, err := ms.copyOf(ctx, lazy, m)
	if err != nil {
		return err
	}
	ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: src, Target: target, ReadOnly: m.ReadOnly})
	return nil
}

// copyOf copies the named files into the build's directory: the ignore file
// applies, and a link in the context cannot lead the mount out of it.
func (ms *mountSet) copyOf(ctx context.Context, lazy *lazyTree, m *instructions.Mount) (string, error) {
	dir, err := os.MkdirTemp(ms.s.b.tmp, "bind-")
	if err != nil {
		return "", err
	}
	ms.closers = append(ms.closers, func() error { return os.RemoveAll(dir) })
	return filepath.Join(dir, "data"), ms.copyItems(ctx, lazy, m, dir, "/data")
}

// copyInto copies what a mount names into a directory that exists.
func (ms *mountSet) copyInto(ctx context.Context, m *instructions.Mount, dir string) error {
	lazy, _, err := ms.s.b.sourceTree(m.From, ms.s.plan.index)
	if err != nil {
		return err
	}
	return ms.copyItems(ctx, lazy, m, dir, "/")
}

func (ms *mountSet) copyItems(ctx context.Context, lazy *lazyTree, m *instructions.Mount, dir, dest string) error {
	items, done, err := ms.s.bindItems(ctx, lazy, m)
	defer done()
	if err != nil {
		return err
	}
	r, err := openRoot(dir)
	if err != nil {
		return err
	}
	defer r.Close()
	c := newCopier(r)
	defer c.Close()
	return c.copyAll(items[0].walker, dest)
}

// script puts the text of a heredoc with its own interpreter at scriptPath.
func (ms *mountSet) script(text string) error {
	f, err := os.CreateTemp(ms.s.b.tmp, "script-")
	if err != nil {
		return err
	}
	ms.closers = append(ms.closers, func() error { return os.Remove(f.Name()) })
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Chmod(0o755), f.Close()); err != nil {
		return err
	}
	ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: f.Name(), Target: scriptPath, ReadOnly: true})
	return nil
}

func resolveBelow(rootDir, name string) (string, error) {
	r, err := openRoot(rootDir)
	if err != nil {
		return "", err
	}
	defer r.Close()
	real, err := resolveRel(r, name)
	if err != nil {
		return "", err
	}
	return filepath.Join(rootDir, real), nil
}

func (ms *mountSet) secret(m *instructions.Mount, target string) error {
	id := m.CacheID
	if m.Source != "" {
		id = m.Source
	}
	if id == "" {
		id = path.Base(target)
	}
	sec, ok := ms.s.b.o.Secrets[id]
	if !ok {
		if m.Required {
			return errs.WithHint(errs.New(errs.NotFound, "secret %s: not found", id), "give it with --secret id=%s,src=FILE", id)
		}
		return nil
	}
	content, err := ms.s.b.secretContent(sec)
	if err != nil {
		return err
	}
	if m.Env != nil {
		name := *m.Env
		if name == "" {
			name = id
		}
		ms.env = append(ms.env, name+"="+string(content))
		if m.Target == "" {
			return nil
		}
	}
	if target == "" {
		target = "/run/secrets/" + path.Base(id)
	}
	dir, remove, err := workDir(ms.s.b.secrets)
	if err != nil {
		return err
	}
	ms.closers = append(ms.closers, func() error { remove(); return nil })
	file := filepath.Join(dir, "secret")
	mode := os.FileMode(0o400)
	if m.Mode != nil {
		mode = os.FileMode(*m.Mode) & os.ModePerm
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(file, mode), os.Chown(file, intOr(m.UID), intOr(m.GID))); err != nil {
		return err
	}
	ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: file, Target: target, ReadOnly: true})
	return nil
}

func intOr(v *uint64) int {
	if v == nil {
		return 0
	}
	return int(*v)
}

func (b *builder) secretContent(s Secret) ([]byte, error) {
	if s.Env != "" {
		v, ok := b.o.Getenv(s.Env)
		if !ok {
			return nil, errs.New(errs.NotFound, "secret: environment variable %q is not set", s.Env)
		}
		return []byte(v), nil
	}
	text, err := os.ReadFile(s.File)
	if err != nil {
		return nil, errs.New(errs.NotFound, "secret: %v", err)
	}
	return text, nil
}

func (ms *mountSet) ssh(m *instructions.Mount, target string) error {
	id := m.CacheID
	if id == "" {
		id = "default"
	}
	sock, ok := ms.s.b.o.SSH[id]
	if !ok {
		if m.Required {
			return errs.WithHint(errs.New(errs.NotFound, "ssh agent %s: not found", id), "forward it with --ssh %s", id)
		}
		return nil
	}
	if target == "" {
		target = fmt.Sprintf("/run/buildkit/ssh_agent.%d", len(ms.mounts))
	}
	dir, remove, err := workDir(ms.s.b.secrets)
	if err != nil {
		return err
	}
	ms.closers = append(ms.closers, func() error { remove(); return nil })
	mode := os.FileMode(0o600)
	if m.Mode != nil {
		mode = os.FileMode(*m.Mode) & os.ModePerm
	}
	own, stop, err := agentSocket(dir, sock, mode, owner{intOr(m.UID), intOr(m.GID)})
	if err != nil {
		return err
	}
	ms.closers = append(ms.closers, stop)
	ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: own, Target: target})
	ms.env = append(ms.env, "SSH_AUTH_SOCK="+target)
	return nil
}

// fillCache makes the directory of a cache mount, the first time with the
// content of "from". It appears whole or not at all.
func (ms *mountSet) fillCache(ctx context.Context, m *instructions.Mount, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	unlock, err := lockDir(dir+".make", true)
	if err != nil {
		return err
	}
	defer unlock() //nolint:errcheck // closing gives the lock back in any case
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	half := dir + ".half"
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	if err := os.Mkdir(half, 0o755); err != nil {
		return err
	}
	if m.From != "" {
		if err := ms.copyInto(ctx, m, half); err != nil {
			return err
		}
	}
	mode := os.FileMode(0o755)
	if m.Mode != nil {
		mode = os.FileMode(*m.Mode) & os.ModePerm
	}
	if err := errors.Join(os.Chmod(half, mode), os.Chown(half, intOr(m.UID), intOr(m.GID))); err != nil {
		return err
	}
	return os.Rename(half, dir)
}

// cacheDir mounts a directory that outlives the build.
func (ms *mountSet) cacheDir(ctx context.Context, m *instructions.Mount, target string) error {
	b := ms.s.b
	id := m.CacheID
	if id == "" {
		id = target
	}
	dir := filepath.Join(b.engine.CacheDir(), "mounts", newKey("mount", id).sum()[:32])
	if m.CacheSharing == instructions.MountSharingPrivate {
		private, unlock, err := privateDir(dir)
		if err != nil {
			return err
		}
		dir = private
		ms.closers = append(ms.closers, unlock)
	}
	if err := ms.fillCache(ctx, m, dir); err != nil {
		return err
	}
	if m.CacheSharing == instructions.MountSharingLocked {
		unlock, err := lockDir(dir, true)
		if err != nil {
			return err
		}
		ms.closers = append(ms.closers, unlock)
	}
	ms.mounts = append(ms.mounts, spec.Mount{Type: spec.MountBind, Source: dir, Target: target, ReadOnly: m.ReadOnly})
	return nil
}
