// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptLimit ends a script that hangs, unless its first lines say otherwise:
// "# timeout: 5m".
const scriptLimit = 90 * time.Second

// bench of running scripts: what the child knows.
type bench struct {
	stage string
	set   set
	facts facts
	skips map[string]string
	next  atomic.Int32
}

func runScripts(t *testing.T, stageDir string, s set) {
	b := &bench{stage: stageDir, set: s}
	data, err := os.ReadFile(filepath.Join(stageDir, "facts.json"))
	if err == nil {
		err = json.Unmarshal(data, &b.facts)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(stageDir, "testdata", s.dir)
	b.skips = readSkips(t, filepath.Join(stageDir, "skips.txt"))
	checkSkips(t, dir)
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Setup:               b.setup,
		Cmds:                b.commands(),
		Condition:           b.condition,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		WorkdirRoot:         filepath.Join(stageDir, s.dir),
	})
}

// setup gives a script directories of its own, short enough for a socket's
// path, and arms the leak check.
func (b *bench) setup(env *testscript.Env) error {
	n := strconv.Itoa(int(b.next.Add(1)))
	tr := traces{
		Data:    filepath.Join(b.stage, b.set.dir, "d"+n),
		Run:     filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "pe"+b.stage[len(b.stage)-4:]+"-"+n),
		SkipPID: os.Getpid(),
	}
	home := filepath.Join(env.WorkDir, "home")
	for _, d := range []string{tr.Data, tr.Run, home} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	for k, v := range map[string]string{
		"PROA_DATA_DIR": tr.Data, "PROA_RUN_DIR": tr.Run, "DATA": tr.Data, "RUN": tr.Run,
		"HOME": home, "USER": os.Getenv("USER"), "XDG_RUNTIME_DIR": os.Getenv("XDG_RUNTIME_DIR"),
		"PATH": os.Getenv("PATH"), "LANG": "C.UTF-8", "TERM": "xterm", "TZ": "UTC",
		"CONTAINERS_REGISTRIES_CONF": filepath.Join(b.stage, "registries.conf"),
		"DOCS":                       filepath.Join(b.stage, "docs"),
		"ARCHIVES":                   filepath.Join(b.stage, "archives"),
		"FAILPOINTS":                 filepath.Join(b.stage, "failpoints.txt"),
		"CLIENT_NETNS":               b.facts.Netns, "CLIENT_VETH": b.facts.Veth, "CLIENT_IP": b.facts.ClientIP, "HOST_IP": b.facts.HostIP,
		"MIRROR": b.facts.Mirror,
	} {
		env.Setenv(k, v)
	}
	env.Values[tracesKey{}] = tr
	env.Values[tKey{}] = env.T()
	watch := time.AfterFunc(scriptLimitOf(env), func() {
		env.T().Log("script took too long: killing everything it started")
		askRoot(b.stage, rootRequest{Kill: &tr})
	})
	env.Defer(func() {
		watch.Stop()
		b.finish(env, tr)
	})
	return nil
}

type tracesKey struct{}

// scriptLimitOf reads the limit from the script's own file "timeout", if any.
func scriptLimitOf(env *testscript.Env) time.Duration {
	data, err := os.ReadFile(filepath.Join(env.WorkDir, "timeout"))
	if err != nil {
		return scriptLimit
	}
	d, err := time.ParseDuration(trimmed(data))
	if err != nil {
		return scriptLimit
	}
	return d
}

// finish removes what the script made, as a user would, and looks whether
// anything at all is left.
func (b *bench) finish(env *testscript.Env, tr traces) {
	t := env.T()
	failed := b.removeAll(env.Vars)
	reply, err := askRoot(b.stage, rootRequest{Traces: &tr})
	if err != nil {
		t.Log("leak check:", err)
		t.FailNow()
	}
	if len(reply.Found) > 0 {
		askRoot(b.stage, rootRequest{Kill: &tr})
	}
	for _, dir := range []string{tr.Data, tr.Run} {
		if os.Getenv("PROA_TEST_KEEP") == "" {
			askRoot(b.stage, rootRequest{Remove: dir})
		}
	}
	if failed != nil {
		t.Log("cleaning up:", failed)
		t.FailNow()
	}
	if len(reply.Found) > 0 {
		t.Log("leak check: left behind:\n\t" + strings.Join(reply.Found, "\n\t"))
		t.FailNow()
	}
}

// removeAll is "proa rm -f $(proa ps -aq)" in the script's environment.
func (b *bench) removeAll(vars []string) error {
	out, err := scriptCommand(vars, "proa", "ps", "-aq", "--no-trunc").Output()
	if err != nil {
		return fmt.Errorf("proa ps: %w: %s", err, out)
	}
	ids := strings.Fields(string(out))
	if len(ids) == 0 {
		return nil
	}
	if out, err := scriptCommand(vars, "proa", append([]string{"rm", "-f", "-v"}, ids...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("proa rm -f: %w: %s", err, out)
	}
	return nil
}

// condition knows [mirror], [subids], [root], [cgroups] and [image:NAME].
func (b *bench) condition(cond string) (bool, error) {
	if img, ok := strings.CutPrefix(cond, "image:"); ok {
		for _, ref := range b.facts.Images {
			if strings.Contains(ref, "/"+img+":") {
				return true, nil
			}
		}
		return false, nil
	}
	switch cond {
	case "mirror":
		return b.facts.Mirror != "", nil
	case "subids":
		return b.set.subIDs, nil
	case "cgroups":
		return cgroupsWritable(), nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// cgroupsWritable says whether this process may make control groups with a
// memory limit: as root, or in a delegated cgroup v2.
func cgroupsWritable() bool {
	if os.Getuid() == 0 {
		return true
	}
	data, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(data)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		dir := filepath.Join("/sys/fs/cgroup", path)
		ctl, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		f, err := os.OpenFile(filepath.Join(dir, "cgroup.procs"), os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		return err == nil && strings.Contains(string(ctl), "memory")
	}
	return false
}

// readSkips reads the list of skips that are allowed: "name: reason".
func readSkips(t *testing.T, path string) map[string]string {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	skips := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("%s: %q is not \"name: reason\"", path, line)
		}
		skips[name] = reason
	}
	return skips
}

// skipLine finds testscript's own ways to end early: they would skip for any
// reason.
var skipLine = regexp.MustCompile(`(?m)^(?:\[[^\]]*\] *)*(?:skip|stop)(?:[ \t].*)?$`)

func checkSkips(t *testing.T, dir string) {
	scripts, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	for _, s := range scripts {
		data, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range skipLine.FindAllString(string(data), -1) {
			t.Errorf("%s: %q: say skip-for NAME, with a name from test/skips.txt", filepath.Base(s), line)
		}
	}
}

// cmdSkipFor is "skip-for NAME": the script ends here, for a listed reason that
// is printed.
func (b *bench) cmdSkipFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || b.skips[args[0]] == "" {
		ts.Fatalf("usage: skip-for NAME, with a name from test/skips.txt")
	}
	fmt.Fprintf(os.Stderr, "SKIP %s: %s\n", ts.Name(), b.skips[args[0]])
	ts.Value(tKey{}).(testscript.T).Skip(args[0])
}

type tKey struct{}

// failpointNames lists the values of the constants named Failpoint* in every
// file failpoints.go of the repository.
func failpointNames(repo string) []string {
	var names []string
	for _, glob := range []string{"*/failpoints.go", "*/*/failpoints.go", "*/*/*/failpoints.go", "*/*/*/*/failpoints.go"} {
		files, _ := filepath.Glob(filepath.Join(repo, glob))
		for _, f := range files {
			names = append(names, failpointsIn(f)...)
		}
	}
	return names
}

func failpointsIn(path string) []string {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return nil
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, id := range spec.Names {
			if !strings.HasPrefix(id.Name, "Failpoint") && !strings.HasPrefix(id.Name, "failpoint") || i >= len(spec.Values) {
				continue
			}
			if lit, ok := spec.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if v, err := strconv.Unquote(lit.Value); err == nil {
					names = append(names, filepath.Base(filepath.Dir(path))+" "+v)
				}
			}
		}
		return true
	})
	return names
}
