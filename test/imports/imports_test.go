// SPDX-License-Identifier: Apache-2.0

// Package imports holds the rules about what may use what, each with its
// reason. docs/ARCHITECTURE.md draws them.
package imports

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/proa-containers/proa"

// group is a place in the order of packages: a package imports only groups of
// a lower rank, and its own group.
type group struct {
	prefix string // of the path below the module
	rank   int
}

const (
	leaf = iota
	value
	mechanism
	engine
	command
)

// groups are matched by the longest prefix.
var groups = []group{
	{"pkg/errs", leaf}, {"pkg/dirs", leaf}, {"pkg/atomicfile", leaf}, {"pkg/ballast", leaf}, {"pkg/failpoint", leaf}, {"pkg/term", leaf}, {"pkg/version", leaf},
	{"pkg/names", leaf}, {"pkg/rmtree", leaf}, {"pkg/initprog", leaf},
	{"pkg/filelock", leaf}, {"pkg/redact", leaf}, {"pkg/hostid", leaf}, {"pkg/rundir", leaf}, {"pkg/overlay", leaf}, {"pkg/sparse", leaf}, {"pkg/treesize", leaf},
	{"pkg/dirwatch", leaf}, {"pkg/events", leaf}, {"pkg/subid", leaf},
	// What the user asked for and what follows from it: pure, so that it can
	// be tested without a machine.
	{"pkg/spec", value}, {"pkg/ocispec", value}, {"libpod/lifecycle", value},
	// What front end and monitor say to each other.
	{"pkg/monitor", value},
	// Each does one thing with the kernel or the disk. They share values, not
	// calls: a test or another engine can take one without the rest.
	{"storage", mechanism}, {"network", mechanism}, {"rootless", mechanism},
	{"pkg/monitor/client", mechanism}, {"pkg/monitor/rootfs", mechanism}, {"pkg/monitor/stream", mechanism}, {"pkg/monitor/process", mechanism}, {"pkg/logs", mechanism}, {"libpod/state", mechanism},
	// It asks for images, layers and containers through an interface, which libpod/builder implements.
	{"pkg/build", mechanism},
	// The two places that order mechanisms: libpod in the front end, the
	// supervisor in the monitor's process.
	{"libpod", engine}, {"pkg/monitor/supervisor", engine},
	{"pkg/cli", command},
	{"cmd", command}, {"hack", command}, {"test", command},
}

// lenders are mechanism packages that another mechanism may use all the same.
var lenders = map[string]string{
	// Example: "network/netns": "reason".
}

// unmoved are imports of mechanisms by a front door, "door -> mechanism", until a build
// is an operation of libpod.
var unmoved = map[string]string{
	"cmd/proa -> storage": "a helper of containers/storage begins in main, before libpod",

	"pkg/cli -> pkg/build":                 "options, results and events of a build, and the call",
	"pkg/cli -> pkg/build/cache":           "what --cache-to and prune name",
	"pkg/cli -> pkg/build/engine":          "the shell in a step that failed",
	"pkg/cli -> pkg/build/exporter":        "the files that --output names",
	"pkg/cli -> pkg/build/machine":         "the platforms that inspect lists",
	"pkg/cli -> pkg/build/runner":          "secrets, agents and the step that failed",
	"pkg/cli -> pkg/build/source":          "the context and the Dockerfile",
	"cmd/proa/cli/build/show -> pkg/build": "events of a build",
}

func groupOf(pkg string) (g group, ok bool) {
	for _, c := range groups {
		if (pkg == c.prefix || strings.HasPrefix(pkg, c.prefix+"/")) && len(c.prefix) > len(g.prefix) {
			g, ok = c, true
		}
	}
	return g, ok
}

// file is one Go file of the module that is not a test.
type file struct {
	pkg  string // path below the module
	path string // relative to the repository
	fset *token.FileSet
	ast  *ast.File
	text string
}

func sources(t *testing.T) []file {
	t.Helper()
	root := "../.."
	var files []file
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "bin" || d.Name() == "libseccomp-golang") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, text, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		files = append(files, file{pkg: filepath.ToSlash(filepath.Dir(rel)), path: rel, fset: fset, ast: f, text: string(text)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (f file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// isProgram says that f is part of a program, where exiting is allowed.
func (f file) isProgram() bool { return f.ast.Name.Name == "main" }

func (f file) imports() []string {
	var paths []string
	for _, im := range f.ast.Imports {
		p, _ := strconv.Unquote(im.Path.Value)
		paths = append(paths, p)
	}
	return paths
}

// TestRanks keeps the order of packages.
func TestRanks(t *testing.T) {
	stale := maps.Clone(unmoved)
	for _, f := range sources(t) {
		if f.isTest() {
			continue
		}
		from, ok := groupOf(f.pkg)
		if !ok {
			t.Errorf("%s: package %s has no place in the order of packages: add it to groups", f.path, f.pkg)
			continue
		}
		for _, p := range f.imports() {
			to, ok := strings.CutPrefix(p, module+"/")
			if !ok {
				continue
			}
			checkImport(t, f, from, to)
			delete(stale, f.pkg+" -> "+to)
		}
	}
	for edge := range stale {
		t.Errorf("%s is not there any more: remove it from unmoved", edge)
	}
}

// isDoor says that pkg is part of a front door: it imports libpod, values and
// leaves, never a mechanism. The monitor's main is no front door.
func isDoor(pkg string) bool {
	return strings.HasPrefix(pkg, "cmd/") && pkg != "cmd/proa-monitor" || pkg == "pkg/cli"
}

func checkImport(t *testing.T, f file, from group, to string) {
	t.Helper()
	g, ok := groupOf(to)
	switch {
	case !ok:
		t.Errorf("%s imports %s, which has no place in the order of packages", f.path, to)
	case g.rank > from.rank && lenders[to] == "":
		t.Errorf("%s imports %s: %s comes before %s", f.path, to, from.prefix, g.prefix)
	case g.rank == mechanism && from.rank == mechanism && g.prefix != from.prefix && lenders[to] == "":
		t.Errorf("%s imports %s: mechanisms share values (pkg/spec), not calls", f.path, to)
	case isDoor(f.pkg) && g.rank == mechanism && lenders[to] == "" && unmoved[f.pkg+" -> "+to] == "":
		t.Errorf("%s imports %s: a front door makes one libpod call and shows what it returns", f.path, to)
	}
}

// storageEdges are the imports among the packages below storage. Each of them
// can be read and tested without a store, so none imports storage itself.
var storageEdges = map[string]string{
	"storage/foreign -> storage/imagename":     "an image of another store is asked for by name",
	"storage/guard -> storage/conffile":        "a policy.json that has gone missing forbids nothing any more",
	"storage/registry -> storage/shortname":    "a registries.conf that has gone missing blocks nothing any more",
	"storage/shortname -> storage/conffile":    "nor does it say what short names mean",
	"storage/shortname -> storage/imagename":   "what a short name stands for has a name, too",
	"storage/index -> storage/shortname":       "a short name is looked for under each name that registries.conf makes of it",
	"storage/foreign -> storage/shortname":     "as in the index",
	"storage/index -> storage/document":        "manifests and lists are read without the image library",
	"storage/manifestlist -> storage/document": "entries say where their images lie",
	"storage/trust -> storage/conffile":        "the policy is shown as it would be enforced",
	"storage/guard -> storage/blob":            "a blob ends where the manifest says",
	"storage/index -> storage/imagename":       "images are looked up by name",
	"storage/ocidir -> storage/blob":           "how long a manifest may be",
	"storage/registry -> storage/imagename":    "what is asked of a registry has a name, and a refusal quotes it",
	"storage/sign -> storage/imagename":        "a signature holds for a name",
	"storage/sign -> storage/registry":         "what lies at a registry is signed there, and its place says where signatures lie",
	"storage/staging -> storage/pack":          "a directory's archive is computed for its digest",
	"storage/staging -> storage/unpack":        "an archive becomes files, or only its description",
	"storage/sign -> storage/trust":            "registries.d says whether sigstore signatures may be sent",
}

// TestStorageEdges keeps the parts of storage apart.
func TestStorageEdges(t *testing.T) { checkEdges(t, "storage", storageEdges) }

// buildEdges are likewise the imports among the packages below pkg/build, which
// the executor of instructions uses.
var buildEdges = map[string]string{
	"pkg/build/source -> pkg/build/files":       "an archive and a repository are written below a root",
	"pkg/build/engine -> pkg/build/cache":       "caches of others are opened and written by the engine, and a layer is what the cache remembers",
	"pkg/build/copying -> pkg/build/source":     "files are found in a tree, and a download or a repository is a source of its own",
	"pkg/build/copying -> pkg/build/files":      "they are found, read and written below roots",
	"pkg/build/copying -> pkg/build/cache":      "their content is added to the key of the step",
	"pkg/build/exporter -> pkg/build/files":     "what is exported was found, and is written, below a root",
	"pkg/build/machine -> pkg/build/dockerfile": "platforms are called what a plan calls them",
	"pkg/build/runner -> pkg/build/engine":      "it runs the step and has its layer",
	"pkg/build/runner -> pkg/build/copying":     "a bind mount takes what COPY would take",
	"pkg/build/runner -> pkg/build/source":      "and from the same trees",
	"pkg/build/runner -> pkg/build/files":       "mount points and programs are looked up below a root",
	"pkg/build/runner -> pkg/build/cache":       "cache mounts lie beside the records and have the same locks",
	"pkg/build/runner -> pkg/build/machine":     "a command that did not start may be for another machine",
	"pkg/build/runner -> pkg/build/dockerfile":  "variables are merged as in a plan",
}

// TestBuildEdges keeps the parts of the build apart.
func TestBuildEdges(t *testing.T) { checkEdges(t, "pkg/build", buildEdges) }

// checkEdges wants no imports among a package and those below it but edges: what
// is below it is used by it, not the other way round.
func checkEdges(t *testing.T, top string, edges map[string]string) {
	t.Helper()
	used := map[string]bool{}
	for _, f := range sources(t) {
		if f.isTest() || !strings.HasPrefix(f.pkg, top+"/") {
			continue
		}
		for _, p := range f.imports() {
			to, ok := strings.CutPrefix(p, module+"/")
			if !ok || to != top && !strings.HasPrefix(to, top+"/") {
				continue
			}
			edge := f.pkg + " -> " + to
			used[edge] = true
			if edges[edge] == "" {
				t.Errorf("%s: %s: what is below %s is used by it, not the other way round", f.path, edge, top)
			}
		}
	}
	for edge := range edges {
		if !used[edge] {
			t.Errorf("%s is not there any more", edge)
		}
	}
}

// heavy are packages that the monitor's binary must not contain. One monitor
// runs per container: every page it touches is paid for by each of them.
var heavy = map[string]string{
	"net/http":                               "1.5 MB of code and a dozen init functions; the monitor speaks its own small protocol",
	"crypto/tls":                             "registries are the front end's business",
	"text/template":                          "formatting is the front end's business; it also keeps the linker from dropping unused methods",
	"go.podman.io/image":                     "images are prepared before the monitor starts",
	"go.podman.io/storage":                   "the monitor gets ready paths (spec.Rootfs)",
	"github.com/mattn/go-sqlite3":            "a monitor never opens the database: it leaves files, front ends settle the record",
	"github.com/urfave/cli":                  "the monitor has no command line",
	"github.com/moby/buildkit":               "builds are the front end's business",
	module + "/libpod":                       "the engine runs in the front end",
	module + "/storage":                      "the monitor gets ready paths (spec.Rootfs)",
	module + "/pkg/cli":                      "the monitor has no command line",
	module + "/cmd/proa/cli":                 "the monitor has no command line",
	"github.com/google/go-containerregistry": "a test's registry",
}

// TestMonitorStaysSmall checks everything that proa-monitor links.
func TestMonitorStaysSmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"/cmd/proa-monitor").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		for bad, why := range heavy {
			if pkg == bad || strings.HasPrefix(pkg, bad+"/") {
				t.Errorf("proa-monitor links %s: %s", pkg, why)
			}
		}
	}
}

// unread are packages that a command which only reads images must not need: they
// are most of what the front end links, and each program start pays for them.
var unread = map[string]string{
	"net/http":                      "nobody is asked",
	"crypto/tls":                    "nobody is asked",
	"go.podman.io/image/v5/types":   "it links crypto/tls",
	"go.podman.io/storage/drivers":  "layers are found by their names in files",
	"go.podman.io/image/v5/storage": "the index reads the library's files itself",
}

// TestIndexLinks keeps the index of images readable without the image library.
func TestIndexLinks(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"/storage/index").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		if why := unread[pkg]; why != "" {
			t.Errorf("storage/index links %s: %s", pkg, why)
		}
	}
}

// TestLicence wants the licence's name in the first line of every file.
func TestLicence(t *testing.T) {
	for _, f := range sources(t) {
		if !strings.HasPrefix(f.text, "// SPDX-License-Identifier: Apache-2.0\n") && !strings.Contains(f.text, "\n// SPDX-License-Identifier: Apache-2.0\n") {
			t.Errorf("%s: no line \"// SPDX-License-Identifier: Apache-2.0\"", f.path)
		}
	}
}

// TestMainsAreShort: what a main does cannot be called by a test.
func TestMainsAreShort(t *testing.T) {
	for _, f := range sources(t) {
		if path.Dir(f.pkg) == "cmd" && f.isProgram() && !f.isTest() {
			if n := strings.Count(f.text, "\n"); n > 60 {
				t.Errorf("%s has %d lines, more than 60", f.path, n)
			}
		}
	}
}

// exits lists the calls that end the program from outside a main, with the
// reason for each. With mounts, namespaces and children to undo, an exit in
// the middle leaks them.
var exits = map[string]string{
	"pkg/failpoint/failpoint.go: os.Exit": "dying at once is its job, in a test only",
	"test/e2e/main_test.go: os.Exit":      "TestMain's way to end",
}

// TestNobodyExits keeps os.Exit, log.Fatal and panic out of everything but
// mains.
func TestNobodyExits(t *testing.T) {
	for _, f := range sources(t) {
		if f.isProgram() || f.isTest() {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := callee(call)
			switch {
			case name == "os.Exit", name == "syscall.Exit", name == "unix.Exit", name == "panic", strings.HasPrefix(name, "log.Fatal"), strings.HasPrefix(name, "log.Panic"), strings.HasPrefix(name, "logrus.Fatal"):
				if exits[f.path+": "+name] == "" {
					t.Errorf("%s: %s: return an error instead", f.fset.Position(call.Pos()), name)
				}
			}
			return true
		})
	}
}

func callee(call *ast.CallExpr) string {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		if x, ok := fun.X.(*ast.Ident); ok {
			return x.Name + "." + fun.Sel.Name
		}
	}
	return ""
}

// inits lists the package initialisers that exist, with the reason.
var inits = map[string]string{}

// TestNoInit keeps work out of package initialisation: every start of the
// program would pay for it, and no caller could see it fail.
func TestNoInit(t *testing.T) {
	for _, f := range sources(t) {
		if f.isTest() {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && inits[f.path] == "" {
				t.Errorf("%s: func init: call it from where it is needed", f.fset.Position(fn.Pos()))
			}
		}
	}
}
