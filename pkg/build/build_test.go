// SPDX-License-Identifier: Apache-2.0

package build

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/exporter"
	"github.com/proa-containers/proa/pkg/build/source"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// dirEngine is an Engine whose layers are whole directories: slow, simple, and
// without any privilege. RUN copies its arguments into /ran.
type dirEngine struct {
	dir   string
	mu    sync.Mutex
	n     int
	runs  []engine.RunStep
	imgs  []engine.ImageSpec
	lists []engine.ListSpec
	run   func(step engine.RunStep, root string) int
}

func newDirEngine(t *testing.T) *dirEngine {
	t.Helper()
	return &dirEngine{dir: t.TempDir()}
}

func (e *dirEngine) next() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	return fmt.Sprintf("layer%d", e.n)
}

func (e *dirEngine) Base(_ context.Context, ref, _ string, _ spec.PullPolicy) (*engine.Base, error) {
	if ref != "base" {
		return nil, errs.New(errs.NotFound, "no such image: %s", ref)
	}
	p := filepath.Join(e.dir, "base", "etc")
	if err := os.MkdirAll(p, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(p, "passwd"), []byte("root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n"), 0o644); err != nil {
		return nil, err
	}
	b := &engine.Base{ID: "baseid", Name: ref, Top: Layer{ID: "base", DiffID: "sha256:base"}}
	b.Config.Config.Env = []string{"PATH=/bin", "FROM_BASE=1"}
	b.Config.Config.Cmd = []string{"basecmd"}
	b.Config.Config.OnBuild = []string{"LABEL triggered=yes"}
	b.Config.RootFS.DiffIDs = append(b.Config.RootFS.DiffIDs, "sha256:base")
	return b, nil
}

type dirScratch struct {
	e      *dirEngine
	parent Layer
	id     string
	dir    string
	done   bool
}

func (e *dirEngine) NewScratch(_ context.Context, parent Layer) (engine.Scratch, error) {
	s := &dirScratch{e: e, parent: parent, id: e.next()}
	s.dir = filepath.Join(e.dir, "tmp-"+s.id)
	if parent.ID == "" {
		return s, os.Mkdir(s.dir, 0o755)
	}
	out, err := exec.Command("cp", "-a", filepath.Join(e.dir, parent.ID), s.dir).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("cp: %s", out)
	}
	return s, nil
}

func (s *dirScratch) Merged() (string, error) { return s.dir, nil }
func (s *dirScratch) Upper() string           { return s.dir }
func (s *dirScratch) Rootfs() spec.Rootfs     { return spec.Rootfs{Driver: "dir", Dir: s.dir} }
func (s *dirScratch) Unmount() error          { return nil }
func (s *dirScratch) Commit(context.Context, *time.Time) (Layer, error) {
	s.done = true
	l := Layer{DiffID: digest.FromString(s.id).String()}
	l.ID = s.e.LayerID(s.parent, l.DiffID)
	return l, os.Rename(s.dir, filepath.Join(s.e.dir, l.ID))
}

func (e *dirEngine) LayerID(parent Layer, diffID string) string {
	return digest.FromString(parent.ID + "+" + diffID).Encoded()
}

// NewDetached is NewScratch: a directory per layer chain cannot tell the two
// apart.
func (e *dirEngine) NewDetached(ctx context.Context, parent Layer) (engine.Scratch, error) {
	return e.NewScratch(ctx, parent)
}

func (e *dirEngine) FindLayer(string) (Layer, bool) { return Layer{}, false }

func (e *dirEngine) CopyLayer(context.Context, string, Layer) (Layer, error) {
	return Layer{}, errs.New(errs.NotFound, "no such content")
}

func (e *dirEngine) OpenCache(context.Context, cache.Ref) ([]cache.Item, error) {
	return nil, errs.New(errs.NotFound, "no such cache")
}

func (e *dirEngine) WriteCache(context.Context, cache.Ref, string, []cache.Content, func([]cache.Blob) ([]byte, error)) error {
	return nil
}

func (s *dirScratch) Discard() error {
	if s.done {
		return nil
	}
	return os.RemoveAll(s.dir)
}

func (e *dirEngine) MountLayer(_ context.Context, top Layer) (string, func() error, error) {
	return filepath.Join(e.dir, top.ID), func() error { return nil }, nil
}

func (e *dirEngine) CheckNames([]string) error                      { return nil }
func (e *dirEngine) CheckRun(context.Context, spec.Container) error { return nil }

func (e *dirEngine) Run(_ context.Context, step engine.RunStep) (int, error) {
	e.mu.Lock()
	e.runs = append(e.runs, step)
	e.mu.Unlock()
	if e.run != nil {
		return e.run(step, step.Rootfs.Dir), nil
	}
	f, err := os.OpenFile(filepath.Join(step.Rootfs.Dir, "ran"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%s\n", strings.Join(step.Container.Process.Args, " "))
	return 0, err
}

func (e *dirEngine) CreateImage(_ context.Context, s engine.ImageSpec) (string, []string, error) {
	e.imgs = append(e.imgs, s)
	return fmt.Sprintf("image%d", len(e.imgs)), s.Names, nil
}

func (e *dirEngine) CreateList(_ context.Context, l engine.ListSpec) (string, []string, error) {
	e.lists = append(e.lists, l)
	return "listid", l.Names, nil
}

func (e *dirEngine) Platforms(context.Context, string) ([]string, error) {
	return []string{"linux/amd64", "linux/arm64", "linux/s390x"}, nil
}

func (e *dirEngine) LayerExists(id string) bool {
	_, err := os.Stat(filepath.Join(e.dir, id))
	return err == nil
}

func (e *dirEngine) RemoveLayers(_ context.Context, ids ...string) (int64, error) {
	for _, id := range ids {
		if err := os.RemoveAll(filepath.Join(e.dir, id)); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// BuildLayers knows of none: what has been forgotten is the store's to tell.
func (e *dirEngine) BuildLayers() (map[string]cache.Made, error) { return nil, nil }

func (e *dirEngine) DataDir() string { return e.dir }

func (e *dirEngine) CacheDir() string { return filepath.Join(e.dir, "cache") }

func (e *dirEngine) SecretDir() string { return filepath.Join(e.dir, "secrets") }

// files lists a layer's files with modes, owners of non-root, and link targets.
func (e *dirEngine) files(t *testing.T, l Layer) string {
	t.Helper()
	root := filepath.Join(e.dir, l.ID)
	var out []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		name := strings.TrimPrefix(p, root)
		switch {
		case d.IsDir():
			name += "/"
		case d.Type()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(p)
			name += " -> " + to
		default:
			text, _ := os.ReadFile(p)
			name += " " + strings.TrimSpace(string(text))
		}
		out = append(out, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

type log struct {
	mu     sync.Mutex
	events []StepEvent
	warns  []Warning
	sizes  []int64 // of the context
}

func (l *log) Plan([]StageInfo, int)        {}
func (l *log) Context(size int64)           { l.sizes = append(l.sizes, size) }
func (l *log) Output(StepRef, bool, []byte) {}
func (l *log) Step(e StepEvent) {
	l.mu.Lock()
	l.events = append(l.events, e)
	l.mu.Unlock()
}

func (l *log) Warn(w Warning) {
	l.mu.Lock()
	l.warns = append(l.warns, w)
	l.mu.Unlock()
}

func (l *log) cached() (n int) {
	for _, e := range l.events {
		if e.State == StepCached {
			n++
		}
	}
	return n
}

func contextDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(text, "->"); ok {
			if err := os.Symlink(to, p); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func buildIt(t *testing.T, e engine.Engine, dockerfile string, files map[string]string, mod func(*Options)) (*Result, *log, error) {
	t.Helper()
	o := Options{Context: source.Source{Dir: contextDir(t, files)}, Inline: []byte(dockerfile), Getenv: os.LookupEnv}
	if mod != nil {
		mod(&o)
	}
	l := &log{}
	r, err := Build(context.Background(), o, e, l)
	return r, l, err
}

func mustBuild(t *testing.T, e engine.Engine, dockerfile string, files map[string]string, mod func(*Options)) (*Result, *log) {
	t.Helper()
	r, l, err := buildIt(t, e, dockerfile, files, mod)
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	return r, l
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("chown needs root or a user namespace")
	}
}

func TestCopyRules(t *testing.T) {
	needRoot(t)
	files := map[string]string{
		"a.txt": "A", "b.txt": "B", "sub/c.txt": "C", "sub/deep/d.txt": "D", "skip/me.txt": "no",
		"skip/keep.txt": "yes", ".dockerignore": "skip\n!skip/keep.txt\n*.dockerignore", "link": "->a.txt", "out": "->/etc/passwd",
	}
	for _, tc := range []struct{ name, lines, want string }{
		{"file to name", "COPY a.txt /x/y", "/x/\n/x/y A"},
		{"file into directory", "COPY a.txt /x/", "/x/\n/x/a.txt A"},
		{"several", "COPY a.txt b.txt /x/", "/x/\n/x/a.txt A\n/x/b.txt B"},
		{"wildcard", "COPY *.txt /x/", "/x/\n/x/a.txt A\n/x/b.txt B"},
		{"wildcard that matches nothing", "COPY *.none /x/\nCOPY nodir/*.txt a.txt /y/", "/y/\n/y/a.txt A"},
		{"wildcard that matches what is ignored", "COPY skip/m*.txt /x/", ""},
		{"directory content", "COPY sub /x", "/x/\n/x/c.txt C\n/x/deep/\n/x/deep/d.txt D"},
		{"ignore with exception", "COPY skip /x", "/x/\n/x/keep.txt yes"},
		{"workdir relative", "WORKDIR /w\nCOPY a.txt .", "/w/\n/w/a.txt A"},
		{"link by name is followed", "COPY link /x/", "/x/\n/x/link A"},
		{"parents", "COPY --parents sub/deep/d.txt /x/", "/x/\n/x/sub/\n/x/sub/deep/\n/x/sub/deep/d.txt D"},
		{"parents with pivot", "COPY --parents sub/./deep/d.txt /x/", "/x/\n/x/deep/\n/x/deep/d.txt D"},
		{"exclude", "COPY --exclude=deep sub /x", "/x/\n/x/c.txt C"},
		{"heredoc", "COPY <<EOF /x/h\nhello\nEOF", "/x/\n/x/h hello"},
		{"env", "ENV d=/x\nCOPY a.txt $d/", "/x/\n/x/a.txt A"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newDirEngine(t)
			r, _ := mustBuild(t, e, "# syntax=docker/dockerfile:1-labs\nFROM scratch\n"+tc.lines, files, nil)
			if got := e.files(t, r.Images[0].Top); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestCopyRefusals(t *testing.T) {
	needRoot(t)
	files := map[string]string{"a": "A", "b": "B", "out": "->/etc/hostname", "up": "->../../../../etc/hostname"}
	for _, tc := range []struct{ lines, want string }{
		{"COPY nothere /x", "file not found in build context"},
		{"COPY a nothere /x/", "file not found in build context"},
		{`COPY a\\*none /x/`, "file not found in build context"},
		{"COPY ../a/../../etc/passwd /x", "file not found"},
		{"COPY out /x", "leads nowhere inside"},
		{"COPY up /x", "leads nowhere inside"},
		{"COPY a b /x", "must be a directory and end with a /"},
		{"COPY --chown=nobodyhere a /x", "no such user: nobodyhere"},
		{"COPY --chmod=9 a /x", "invalid chmod"},
		{"COPY --from=nowhere a /x", "no such image"},
		{"EXPOSE 70000", "invalid containerPort"},
		{"RUN --security=insecure true", "not allowed"},
		{"RUN --mount=type=secret,id=s,required=true true", "secret s: not found"},
		{"RUN --mount=type=bind,source=*.none,target=/x true", "names 0 files"},
	} {
		e := newDirEngine(t)
		_, _, err := buildIt(t, e, "FROM base\n"+tc.lines, files, nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.lines, err, tc.want)
			continue
		}
		if !strings.Contains(err.Error(), "Dockerfile:2:") {
			t.Errorf("%s: no line in %v", tc.lines, err)
		}
	}
}

func TestConfig(t *testing.T) {
	needRoot(t)
	e := newDirEngine(t)
	r, _ := mustBuild(t, e, `ARG V=1
FROM base
ARG V
ARG W=w
ENV A=$V B=${W:-none}
ENV A=2
LABEL "x y"=z
EXPOSE 80 53/udp
USER web
VOLUME ["/data"]
STOPSIGNAL SIGINT
ENTRYPOINT ["/e"]
HEALTHCHECK --interval=5s CMD true
ONBUILD RUN echo later
`, nil, func(o *Options) { o.Labels = map[string]string{"cli": "1"} })
	c := r.Images[0].Config.Config
	check := func(what string, got, want any) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	check("env", c.Env, []string{"PATH=/bin", "FROM_BASE=1", "A=2", "B=w"})
	check("labels", c.Labels, map[string]string{"x y": "z", "cli": "1", "triggered": "yes"})
	check("ports", len(c.ExposedPorts), 2)
	check("user", c.User, "web")
	check("entrypoint", c.Entrypoint, []string{"/e"})
	check("cmd of the base is dropped", len(c.Cmd), 0)
	check("stop", c.StopSignal, "SIGINT")
	check("onbuild", c.OnBuild, []string{"RUN echo later"})
	check("health", c.Healthcheck.Interval, 5*time.Second)
	check("layers", len(r.Images[0].Config.RootFS.DiffIDs), 1)
	_ = dockerspec.HealthcheckConfig{}
}

func TestCache(t *testing.T) {
	needRoot(t)
	e := newDirEngine(t)
	df := "FROM base\nARG X=1\nRUN one\nCOPY a /a\nRUN two $X\n"
	first, _ := mustBuild(t, e, df, map[string]string{"a": "1"}, nil)
	if len(e.runs) != 2 {
		t.Fatalf("%d runs, want 2", len(e.runs))
	}
	again, l := mustBuild(t, e, df, map[string]string{"a": "1"}, nil)
	if len(e.runs) != 2 || l.cached() != 5 { // with ARG, and the base's ONBUILD LABEL
		t.Errorf("second build: %d runs and %d cached, want 2 and 5", len(e.runs), l.cached())
	}
	if jsonText(first.Images[0].Config) != jsonText(again.Images[0].Config) {
		t.Errorf("a cached build made another image:\n%s\n%s", jsonText(first.Images[0].Config), jsonText(again.Images[0].Config))
	}
	mustBuild(t, e, df, map[string]string{"a": "2"}, nil)
	if len(e.runs) != 3 {
		t.Errorf("a changed file runs what follows: %d runs, want 3", len(e.runs))
	}
	two := "2"
	mustBuild(t, e, df, map[string]string{"a": "2"}, func(o *Options) { o.Args = map[string]*string{"X": &two} })
	if len(e.runs) != 5 {
		t.Errorf("a changed ARG runs both: %d runs, want 5", len(e.runs))
	}
	mustBuild(t, e, df, map[string]string{"a": "2"}, func(o *Options) { o.NoCache = true })
	if len(e.runs) != 7 {
		t.Errorf("--no-cache: %d runs, want 7", len(e.runs))
	}
}

func TestStages(t *testing.T) {
	needRoot(t)
	e := newDirEngine(t)
	r, _ := mustBuild(t, e, `FROM scratch AS one
COPY a /one/a
FROM scratch AS unused
COPY missing /x
FROM base AS two
COPY --from=one /one/ /from-one/
COPY --from=0 /one/a /by-number
FROM two
COPY a /last
`, map[string]string{"a": "A"}, nil)
	got := e.files(t, r.Images[0].Top)
	for _, want := range []string{"/from-one/a A", "/by-number A", "/last A", "/etc/passwd"} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %s in\n%s", want, got)
		}
	}
	r, _ = mustBuild(t, e, "FROM scratch AS x\nCOPY a /a\nFROM x AS y\nCOPY missing /\n", map[string]string{"a": "A"}, func(o *Options) { o.Target = "x" })
	if got := e.files(t, r.Images[0].Top); got != "/a A" {
		t.Errorf("target: %s", got)
	}
	_, _, err := buildIt(t, e, "FROM scratch AS x\n", nil, func(o *Options) { o.Target = "nope" })
	if !errs.Is(err, errs.NotFound) {
		t.Errorf("unknown target: %v", err)
	}
}

func TestRunFailure(t *testing.T) {
	needRoot(t)
	e := newDirEngine(t)
	e.run = func(engine.RunStep, string) int { return 3 }
	_, l, err := buildIt(t, e, "FROM base\nRUN false\n", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "The command '/bin/sh -c false' returned a non-zero code: 3") {
		t.Fatalf("got %v", err)
	}
	if l.events[len(l.events)-1].State != StepFailed {
		t.Error("the step was not reported as failed")
	}
	left, err := filepath.Glob(filepath.Join(e.dir, "tmp-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestRunMountsLeaveNoStubs(t *testing.T) {
	needRoot(t)
	e := newDirEngine(t)
	e.run = func(step engine.RunStep, root string) int {
		for _, m := range step.Container.Mounts {
			if err := os.MkdirAll(filepath.Join(root, m.Target), 0o755); err != nil {
				return 1
			}
		}
		_ = os.MkdirAll(filepath.Join(root, "proc"), 0o755)
		return 0
	}
	r, _ := mustBuild(t, e, "FROM scratch\nRUN --mount=type=cache,target=/root/.cache/x --mount=type=bind,target=/src,rw --mount=type=tmpfs,target=/t true\n", map[string]string{"f": "x"}, nil)
	if got := e.files(t, r.Images[0].Top); got != "" {
		t.Errorf("left in the layer:\n%s", got)
	}
	src := e.runs[0].Container.Mounts[1].Source
	if _, err := os.Stat(src); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the copy for the bind mount is still there: %v", err)
	}
}

func TestHostileTar(t *testing.T) {
	needRoot(t)
	entry := func(h tar.Header) []byte {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		h.Size = 0
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Close()
		return buf.Bytes()
	}
	for _, tc := range []struct {
		hdr  tar.Header
		want string
	}{
		{tar.Header{Name: "../../evil", Typeflag: tar.TypeReg, Mode: 0o644}, "leads out"},
		{tar.Header{Name: "dev", Typeflag: tar.TypeChar, Mode: 0o644}, "device node"},
		{tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "../../../etc/passwd"}, "leads out"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x.tar"), entry(tc.hdr), 0o644); err != nil {
			t.Fatal(err)
		}
		e := newDirEngine(t)
		_, err := Build(context.Background(), Options{Context: source.Source{Dir: dir}, Inline: []byte("FROM scratch\nADD x.tar /\n")}, e, &log{})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.hdr.Name, err, tc.want)
		}
	}
}

// A link in the layer that points outside must lead back to the layer's root.
func TestCopyThroughLink(t *testing.T) {
	needRoot(t)
	outside := t.TempDir()
	e := newDirEngine(t)
	e.run = func(step engine.RunStep, root string) int {
		if err := os.Symlink(outside, filepath.Join(root, "trap")); err != nil {
			return 1
		}
		return 0
	}
	r, _ := mustBuild(t, e, "FROM scratch\nRUN make trap\nCOPY a /trap/a\n", map[string]string{"a": "A"}, nil)
	if list := e.files(t, r.Images[0].Top); !strings.Contains(list, outside+"/a A\n") {
		t.Errorf("the layer lacks what the link names: %s", list)
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Fatal("the copy escaped the layer")
	}
}

// What is read of a context is told once it is a lot, unless it is measured anyway. The
// directory of Proa is no part of it.
func TestMuchRead(t *testing.T) {
	needRoot(t)
	const dockerfile = "FROM scratch\nCOPY some /\nCOPY . /\nCOPY some more /d/\n"
	sparse := func(path string, size int64) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644), os.Truncate(path, size)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		size     int64
		measured bool
		want     int
	}{{muchRead, false, 1}, {muchRead - 10, false, 0}, {muchRead, true, 1}} {
		e := newDirEngine(t)
		r, l := mustBuild(t, e, dockerfile, map[string]string{"some": "1", "more": "2"}, func(o *Options) {
			e.dir = filepath.Join(o.Context.Dir, "proa")
			sparse(filepath.Join(o.Context.Dir, "big"), tc.size)
			sparse(filepath.Join(e.dir, "storage", "layer"), 10*muchRead)
			o.MeasureContext = tc.measured
		})
		if len(l.sizes) != tc.want || tc.want > 0 && (l.sizes[0] < tc.size || l.sizes[0] > tc.size+10_000) {
			t.Errorf("%d bytes, measured %v: told %d", tc.size, tc.measured, l.sizes)
		}
		if list := e.files(t, r.Images[0].Top); strings.Contains(list, "layer") || !strings.Contains(list, "/big") {
			t.Errorf("the image has %.300s", list)
		}
	}
}

func TestExport(t *testing.T) {
	needRoot(t)
	e := newDirEngine(t)
	dest := filepath.Join(t.TempDir(), "out")
	mustBuild(t, e, "FROM scratch\nCOPY a /d/a\n", map[string]string{"a": "A"}, func(o *Options) { o.Exports, o.NoImage = []exporter.Target{{Kind: exporter.Dir, Dest: dest}}, true })
	if text, err := os.ReadFile(filepath.Join(dest, "d/a")); err != nil || string(text) != "A" {
		t.Errorf("local: %q, %v", text, err)
	}
	var buf bytes.Buffer
	mustBuild(t, e, "FROM scratch\nCOPY a /d/a\n", map[string]string{"a": "A"}, func(o *Options) {
		o.Exports, o.NoImage = []exporter.Target{{Kind: exporter.Tar, Dest: "-", Stdout: &buf}}, true
	})
	var names []string
	for tr := tar.NewReader(&buf); ; {
		h, err := tr.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	if got := strings.Join(names, " "); got != "./ d/ d/a" {
		t.Errorf("tar: %q", got)
	}
	if len(e.imgs) != 0 {
		t.Error("an image was made all the same")
	}
}

// longIDs gives images ids as long as real ones.
type longIDs struct{ *dirEngine }

func (e longIDs) CreateImage(ctx context.Context, s engine.ImageSpec) (string, []string, error) {
	_, names, err := e.dirEngine.CreateImage(ctx, s)
	return strings.Repeat("0", 64), names, err
}

// What a failed step leaves is an image like any other, and can be pushed: the
// host's proxies, which may have a password, are not in it.
func TestKeptImageHasNoProxy(t *testing.T) {
	e := longIDs{newDirEngine(t)}
	e.run = func(engine.RunStep, string) int { return 1 }
	_, _, err := buildIt(t, e, "FROM base\nARG KEPT=yes\nRUN false\n", nil, func(o *Options) {
		o.KeepFailed, o.PassProxy = true, true
		o.Getenv = func(name string) (string, bool) { return "http://user:secret@proxy", name == "https_proxy" }
	})
	if err == nil || len(e.imgs) != 1 {
		t.Fatalf("images %d, %v", len(e.imgs), err)
	}
	passed := false
	for _, kv := range e.runs[0].Container.Process.Env {
		passed = passed || kv == "https_proxy=http://user:secret@proxy"
	}
	kept := false
	for _, kv := range e.imgs[0].Config.Config.Env {
		if kv == "https_proxy=http://user:secret@proxy" {
			t.Error("the kept image has " + kv)
		}
		kept = kept || kv == "KEPT=yes"
	}
	if !passed || !kept {
		t.Errorf("the step had the proxy: %v, the image has the ARG: %v", passed, kept)
	}
}
