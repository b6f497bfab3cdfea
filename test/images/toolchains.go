// SPDX-License-Identifier: Apache-2.0

package images

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// The bases of real builds: Python with pip, Node.js with npm, Go.

// pythonTree is Debian's Python with pip under the names of the official image.
// pip may install beside Debian's own packages, as it may there.
func pythonTree(dir string) error {
	return layerOn("debian", func(root string) error {
		if err := install(root, "python3", "python3-pip"); err != nil {
			return err
		}
		marks, err := filepath.Glob(filepath.Join(root, "usr/lib/python3*/EXTERNALLY-MANAGED"))
		if err != nil {
			return err
		}
		for _, m := range marks {
			if err := os.Remove(m); err != nil {
				return err
			}
		}
		return writeFiles(root, map[string]string{
			"usr/local/bin/python": "-> /usr/bin/python3",
			"usr/local/bin/pip":    "-> /usr/bin/pip3",
		})
	})(dir)
}

// nodeTree is Debian's Node.js and npm. Debian's npm depends on 380 packages,
// most of which are what its libraries were built with: installed, they take
// five times as long and as much space as everything else here. So they are
// unpacked only, and what npm's own commands never load is left out.
func nodeTree(dir string) error {
	return layerOn("debian", func(root string) error {
		if err := install(root, "nodejs"); err != nil {
			return err
		}
		if err := aptGet(root, "install", "-y", "--no-install-recommends", "--download-only", "npm"); err != nil {
			return err
		}
		packages, err := filepath.Glob(filepath.Join(root, "var/cache/apt/archives/*.deb"))
		if err != nil {
			return err
		}
		for _, p := range packages {
			if !npmNeeds(filepath.Base(p)) {
				continue
			}
			if err := run("", "sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --exclude ./usr/share/doc --exclude ./usr/share/man`, "sh", p, root); err != nil {
				return err
			}
		}
		if err := aptGet(root, "clean"); err != nil {
			return err
		}
		// The official image's user for "USER node".
		return run(root, "useradd", "--uid", "1000", "--create-home", "node")
	})(dir)
}

// npmNeeds says whether npm could load anything of a Debian package.
func npmNeeds(file string) bool {
	if !strings.HasPrefix(file, "npm_") && !strings.HasPrefix(file, "node-") {
		return false
	}
	for _, tool := range []string{"babel", "webpack", "webassemblyjs", "eslint", "core-js", "lodash", "terser", "caniuse-lite", "es-abstract", "types-", "istanbul", "jest", "handlebars", "n3", "regenerate", "undici"} {
		if strings.HasPrefix(strings.TrimPrefix(file, "node-"), tool) {
			return false
		}
	}
	return true
}

// golangTree is what "go build" needs of the Go toolchain that runs these very
// tests: no tests, no sources of the tools. It stands on busybox, so everything
// in it is linked statically.
func golangTree(dir string) error {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("cannot ask go for its directory: %w", err)
	}
	from, to := strings.TrimSpace(string(out)), filepath.Join(dir, "usr/local/go")
	if err := copyTree(filepath.Join(from, "src"), filepath.Join(to, "src"), forBuilding); err != nil {
		return err
	}
	if err := copyTree(filepath.Join(from, "pkg/include"), filepath.Join(to, "pkg/include"), nil); err != nil {
		return err
	}
	tools := filepath.Join("pkg/tool", runtime.GOOS+"_"+runtime.GOARCH)
	files := []string{"VERSION", "go.env", "bin/go"}
	for _, t := range []string{"asm", "compile", "link"} {
		files = append(files, filepath.Join(tools, t))
	}
	for _, f := range files {
		if err := copyProgram(filepath.Join(from, f), filepath.Join(to, f)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "go"), 0o777); err != nil {
		return err
	}
	return staticGo(filepath.Join(to, "bin/go"))
}

// forBuilding leaves out what "go build" reads nothing of.
func forBuilding(path string, d fs.DirEntry) bool {
	if d.IsDir() {
		return path != "cmd" && d.Name() != "testdata"
	}
	return !strings.HasSuffix(path, "_test.go")
}

// staticGo replaces a go program that wants a C library: a distribution's.
func staticGo(prog string) error {
	f, err := elf.Open(prog)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return run("", "env", "CGO_ENABLED=0", "GOFLAGS=", "go", "build", "-trimpath", "-o", prog, "cmd/go")
		}
	}
	return nil
}

// copyTree copies the files below from, links followed, for which want holds:
// it is asked with a path relative to from.
func copyTree(from, to string, want func(path string, d fs.DirEntry) bool) error {
	// A distribution's GOROOT consists of links.
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case rel != "." && want != nil && !want(rel, d):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return copyProgram(path, filepath.Join(to, rel))
	})
}

// copyProgram copies one file with its permissions.
func copyProgram(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	fi, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, fi.Mode().Perm())
}
