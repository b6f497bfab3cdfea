// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// host is an engine without containers: a step is a function.
type host struct {
	engine.Engine
	cache string
	run   func(engine.RunStep) int
	shown []engine.RunStep
}

func (h *host) CacheDir() string { return h.cache }

func (h *host) Run(_ context.Context, s engine.RunStep) (int, error) {
	h.shown = append(h.shown, s)
	return h.run(s), nil
}

func (h *host) NewScratch(_ context.Context, parent engine.Layer) (engine.Scratch, error) {
	return &scratch{dir: parent.ID}, nil
}

// scratch is a directory of its own.
type scratch struct {
	dir       string
	discarded bool
}

func (s *scratch) Merged() (string, error) { return s.dir, nil }
func (s *scratch) Upper() string           { return s.dir }
func (s *scratch) Rootfs() spec.Rootfs     { return spec.Rootfs{Driver: "dir", Dir: s.dir} }
func (s *scratch) Unmount() error          { return nil }
func (s *scratch) Discard() error          { s.discarded = true; return nil }
func (s *scratch) Commit(context.Context, *time.Time) (engine.Layer, error) {
	return engine.Layer{}, errors.New("nobody commits here")
}

// mount parses a --mount.
func mount(t *testing.T, text string) Mount {
	t.Helper()
	res, err := parser.Parse(strings.NewReader("RUN --mount=" + text + " true\n"))
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := instructions.ParseCommand(res.AST.Children[0])
	if err != nil {
		t.Fatal(err)
	}
	c := cmd.(*instructions.RunCommand)
	if err := c.Expand(func(w string) (string, error) { return w, nil }); err != nil {
		t.Fatal(err)
	}
	return Mount{Mount: instructions.GetMounts(c)[0]}
}

func newHost(t *testing.T, run func(engine.RunStep) int) (*Host, *host) {
	t.Helper()
	e := &host{cache: t.TempDir(), run: run}
	return &Host{Engine: e, Tmp: t.TempDir(), SecretDir: t.TempDir(), Getenv: func(name string) (string, bool) { return "value of " + name, name == "SET" }}, e
}

// source of a mount during the step.
func target(s engine.RunStep, target string) string {
	for _, m := range s.Container.Mounts {
		if m.Target == target {
			return m.Source
		}
	}
	return ""
}

func read(t *testing.T, p string) string {
	t.Helper()
	text, err := os.ReadFile(p)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// What a step gets is there while it runs and gone afterwards; what its start made
// in the layer is gone, and what the command made is kept.
func TestMounts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the copies get owners, which takes root")
	}
	ctx := t.TempDir()
	if err := os.WriteFile(filepath.Join(ctx, "f"), []byte("of the context"), 0o644); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	var during []string
	h, e := newHost(t, func(s engine.RunStep) int {
		for _, m := range s.Container.Mounts {
			_ = os.MkdirAll(filepath.Join(root, m.Target), 0o755)
			during = append(during, m.Source)
		}
		if got := read(t, filepath.Join(target(s, "/src"), "f")); got != "of the context" {
			t.Errorf("bind: %q", got)
		}
		if got := read(t, target(s, "/run/secrets/file")); got != "secret" {
			t.Errorf("secret: %q", got)
		}
		if got := read(t, target(s, ScriptPath)); got != "#!/bin/x" {
			t.Errorf("script: %q", got)
		}
		if got := read(t, filepath.Join(target(s, "/w/filled"), "f")); got != "of the context" {
			t.Errorf("cache: %q", got)
		}
		_ = os.WriteFile(filepath.Join(target(s, "/w/filled"), "more"), nil, 0o644)
		_ = os.WriteFile(filepath.Join(root, "src", "made"), []byte("by the command"), 0o644)
		return 0
	})
	secret := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Secrets = map[string]Secret{"file": {File: secret}, "env": {Env: "SET"}}
	opened := 0
	files := source.NewLazy(func(context.Context) (*source.Tree, error) { opened++; return &source.Tree{Root: ctx}, nil })
	bind := mount(t, "type=bind,target=/src,rw")
	bind.Tree = files
	filled := mount(t, "type=cache,target=filled,from=x")
	filled.Tree = source.NewLazy(func(c context.Context) (*source.Tree, error) { return files.Get(c) })
	s := &Step{Scratch: &scratch{dir: root}, Script: "#!/bin/x", Shell: "/bin/sh", Mounts: []Mount{
		bind, filled, mount(t, "type=tmpfs,target=/t"), mount(t, "type=secret,id=file"), mount(t, "type=secret,id=env,env=TOKEN"), mount(t, "type=secret,id=missing"),
	}}
	s.Image.Config.WorkingDir = "/w"
	s.Container.Process.Args = []string{"true"}
	if err := h.Do(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	if env := e.shown[0].Container.Process.Env; !slices.Contains(env, "TOKEN=value of SET") {
		t.Errorf("variables: %v", env)
	}
	for _, p := range during {
		if _, err := os.Stat(p); p != "" && !strings.HasPrefix(p, e.cache) && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", p, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(root, "*")); len(left) != 1 || read(t, filepath.Join(root, "src", "made")) != "by the command" {
		t.Errorf("in the layer: %v", left)
	}
	if len(s.Container.Mounts) != 0 {
		t.Errorf("the step itself was changed: %v", s.Container.Mounts)
	}
	// A cache that is there is not filled again, and what it is filled from not
	// looked for.
	filled.Tree = source.NewLazy(func(context.Context) (*source.Tree, error) { return nil, errors.New("was opened") })
	e.run = func(s engine.RunStep) int {
		if _, err := os.Stat(filepath.Join(target(s, "/w/filled"), "more")); err != nil {
			t.Errorf("the cache forgot: %v", err)
		}
		return 0
	}
	s.Mounts = []Mount{filled}
	if err := h.Do(context.Background(), s); err != nil || opened != 1 {
		t.Errorf("opened %d times, %v", opened, err)
	}
}

func TestMountRefusals(t *testing.T) {
	h, e := newHost(t, func(engine.RunStep) int { return 0 })
	h.Secrets = map[string]Secret{"gone": {File: "/nothere"}, "unset": {Env: "UNSET"}}
	dir := t.TempDir()
	for _, f := range []string{"a1", "a2"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"type=secret,id=s,required":            "secret s: not found",
		"type=secret,id=gone":                  "/nothere",
		"type=secret,id=unset":                 `variable "UNSET" is not set`,
		"type=ssh,required":                    "ssh agent default: not found",
		"type=cache,target=/c,source=/d":       "is a path of what from names",
		"type=bind,target=/b,source=none*":     `source "none*" names 0 files`,
		"type=bind,target=/b,source=a*":        `source "a*" names 2 files`,
		"type=bind,target=/b,source=../../e":   "file not found in build context",
		"type=bind,from=st,target=/b,source=n": `source "n" not found in stage "st"`,
	} {
		m := mount(t, text)
		m.Tree = source.Ready(&source.Tree{Root: dir})
		if m.From != "" {
			m.Layers, m.Where = true, `stage "st"`
		}
		err := h.Do(context.Background(), &Step{Scratch: &scratch{dir: t.TempDir()}, Mounts: []Mount{m}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if len(e.shown) != 0 {
		t.Error("a step ran without its mounts")
	}
	for _, d := range []string{h.Tmp, h.SecretDir} {
		if left, _ := filepath.Glob(filepath.Join(d, "proa-build-*")); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// A command that fails is told in Docker's words, and a shell in its place sees
// what it began with.
func TestFailed(t *testing.T) {
	h, e := newHost(t, func(engine.RunStep) int { return 7 })
	below := t.TempDir()
	s := &Step{Scratch: &scratch{dir: t.TempDir()}, Below: engine.Layer{ID: below}, Shell: "/bin/dash", Mounts: []Mount{mount(t, "type=tmpfs,target=/t")}}
	s.Container.Process.Args, s.Container.Process.Env = []string{"/bin/dash", "-c", "false"}, []string{"A=1"}
	err := h.Do(context.Background(), s)
	var failed *Failed
	if !errors.As(err, &failed) || err.Error() != "The command '/bin/dash -c false' returned a non-zero code: 7" || !errs.Is(err, errs.Invalid) {
		t.Fatalf("got %v", err)
	}
	e.run = func(engine.RunStep) int { return 3 }
	if code, err := failed.Shell(context.Background(), e, strings.NewReader(""), nil); code != 3 || err != nil {
		t.Errorf("the shell: %d, %v", code, err)
	}
	shell := e.shown[len(e.shown)-1]
	if p := shell.Container.Process; !slices.Equal(p.Args, []string{"/bin/dash"}) || !slices.Equal(p.Env, []string{"A=1"}) || !p.TTY || len(shell.Container.Mounts) != 0 || shell.Rootfs.Dir != below {
		t.Errorf("the shell is %+v", shell)
	}
}

func TestCommand(t *testing.T) {
	shell := []string{"/bin/bash", "-c"}
	line := func(s string, docs ...instructions.ShellInlineFile) *instructions.RunCommand {
		return &instructions.RunCommand{ShellDependantCmdLine: instructions.ShellDependantCmdLine{CmdLine: []string{s}, PrependShell: true, Files: docs}}
	}
	doc := func(text string) instructions.ShellInlineFile {
		return instructions.ShellInlineFile{Name: "EOF", Data: text}
	}
	exec := &instructions.RunCommand{ShellDependantCmdLine: instructions.ShellDependantCmdLine{CmdLine: []string{"a", "b"}}}
	for _, tc := range []struct {
		c      *instructions.RunCommand
		args   string
		script string
	}{
		{exec, "a|b", ""},
		{line("make all"), "/bin/bash|-c|make all", ""},
		{line("<<EOF", doc("one\ntwo\n")), "/bin/bash|-c|one\ntwo\n", ""},
		{line("<<-'EOF'", doc("#!/bin/x\n")), ScriptPath, "#!/bin/x\n"},
		{line("cat <<EOF", doc("text\n")), "/bin/bash|-c|cat <<EOF\ntext\nEOF", ""},
	} {
		args, script := Command(tc.c, shell)
		if got := strings.Join(args, "|"); got != tc.args || script != tc.script {
			t.Errorf("%v: %q, script %q", tc.c.CmdLine, got, script)
		}
	}
	if len(shell) != 2 || shell[1] != "-c" {
		t.Errorf("the shell became %v", shell)
	}
}

// One step may mount a locked cache in two places.
func TestLockedCacheTwice(t *testing.T) {
	h, e := newHost(t, func(s engine.RunStep) int {
		if target(s, "/a") == "" || target(s, "/a") != target(s, "/b") {
			t.Errorf("mounts: %v", s.Container.Mounts)
		}
		return 0
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := h.Do(ctx, &Step{Scratch: &scratch{dir: t.TempDir()}, Mounts: []Mount{mount(t, "type=cache,id=x,target=/a,sharing=locked"), mount(t, "type=cache,id=x,target=/b,sharing=locked")}})
	if err != nil || len(e.shown) != 1 {
		t.Errorf("%v, %d runs", err, len(e.shown))
	}
}

// Steps that lock the same caches do it in the same order, whatever order they are
// written in: none waits for one that waits for it. Waiting ends with the build.
func TestLockedCachesInOneOrder(t *testing.T) {
	h, e := newHost(t, func(engine.RunStep) int { return 0 })
	step := func(ctx context.Context, ids ...string) error {
		s := &Step{Scratch: &scratch{dir: t.TempDir()}}
		for _, id := range ids {
			s.Mounts = append(s.Mounts, mount(t, "type=cache,id="+id+",target=/"+id+",sharing=locked"))
		}
		return h.Do(ctx, s)
	}
	if err := step(context.Background(), "one", "two"); err != nil {
		t.Fatal(err)
	}
	one, two := target(e.shown[0], "/one"), target(e.shown[0], "/two")
	first, second := min(one, two), max(one, two)
	for _, ids := range [][]string{{"one", "two"}, {"two", "one"}} {
		unlock, err := cache.LockUntil(context.Background(), first) // a cancelled step may get it for a moment
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- step(ctx, ids...) }()
		time.Sleep(200 * time.Millisecond) // it has taken what it gets
		if other, err := cache.Lock(second); err != nil {
			t.Errorf("%v: it holds the second while it waits for the first: %v", ids, err)
		} else {
			_ = other()
		}
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled step: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("a cancelled step waits on")
		}
		if err := unlock(); err != nil {
			t.Fatal(err)
		}
	}
	if len(e.shown) != 1 {
		t.Errorf("a step ran without its lock: %v", e.shown)
	}
}

// TestInteractive runs the command for a person as the shells of a step do.
func TestInteractive(t *testing.T) {
	if got := interactive("/bin/dash"); len(got) != 1 || got[0] != "/bin/dash" {
		t.Errorf("another shell than the Dockerfile's: %q", got)
	}
	want := "sh"
	if _, err := os.Stat("/bin/bash"); err == nil {
		want = "bash"
	}
	line := interactive("/bin/sh")
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdin = strings.NewReader("echo ${BASH_VERSION:+ba}sh\n")
	if out, err := cmd.Output(); err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("got %q, %v; want %s", out, err, want)
	}
}
