// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	maxLines  = 2500 // of a package, tests not counted
	maxFields = 25   // of a struct
)

// tooLarge are packages that are still to be split, with a limit that only shrinks.
var tooLarge = map[string]int{
	"libpod":    9150,
	"pkg/cli":   10300,
	"storage":   6450,
	"pkg/build": 3250,
}

// tooWide are structs with more fields, likewise. Docker's own documents are as wide as
// Docker made them.
var tooWide = map[string]int{
	"libpod.Info":                        27,
	"pkg/build.Options":                  45,
	"libpod/dockerdoc.InspectContainer":  26, // Docker's
	"libpod/dockerdoc.InspectHostConfig": 54, // Docker's
	"pkg/monitor.Config":                 26,
	"pkg/ocispec.Host":                   26,
}

// TestSizes: a package that nears the limit is split by use case, a struct is grouped.
func TestSizes(t *testing.T) {
	lines := map[string]int{}
	for _, f := range sources(t) {
		if f.isTest() || strings.HasPrefix(f.pkg, "test/") {
			continue
		}
		lines[f.pkg] += strings.Count(f.text, "\n")
		checkStructs(t, f)
	}
	for pkg, n := range lines {
		switch limit := tooLarge[pkg]; {
		case limit == 0 && n > maxLines:
			t.Errorf("%s has %d lines, and the limit is %d: split it by use case", pkg, n, maxLines)
		case limit != 0 && n > limit:
			t.Errorf("%s has grown to %d lines, and is to be split: put what is new elsewhere", pkg, n)
		case limit != 0 && n <= maxLines:
			t.Errorf("%s has %d lines: remove its entry from tooLarge", pkg, n)
		}
	}
	for pkg := range tooLarge {
		if lines[pkg] == 0 {
			t.Errorf("there is no package %s: remove its entry from tooLarge", pkg)
		}
	}
}

func checkStructs(t *testing.T, f file) {
	t.Helper()
	ast.Inspect(f.ast, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		s, ok := spec.Type.(*ast.StructType)
		if !ok {
			return true
		}
		fields := 0
		for _, field := range s.Fields.List {
			fields += max(1, len(field.Names))
		}
		name := f.pkg + "." + spec.Name.Name
		if limit := max(maxFields, tooWide[name]); fields > limit {
			t.Errorf("%s has %d fields, and the limit is %d: group them", name, fields, limit)
		}
		return true
	})
}

// riddles are phrases that readers had to solve. docs and messages say it with subject,
// verb and object.
var riddles = regexp.MustCompile(`(?i)\b(leave (it|them) away|left away|of one's own|to the letter|who comes|not made yet|said elsewhere|look whether|ended without an answer|others have decided)\b`)

// TestPlainEnglish keeps them out of comments, messages and documents.
func TestPlainEnglish(t *testing.T) {
	for _, f := range sources(t) {
		if !f.isTest() {
			checkText(t, f.path, f.text)
		}
	}
	for _, doc := range documents(t) {
		checkText(t, doc.path, doc.text)
	}
}

func checkText(t *testing.T, path, text string) {
	t.Helper()
	for i, line := range strings.Split(text, "\n") {
		if found := riddles.FindString(line); found != "" {
			t.Errorf("%s:%d: %q: write a plain sentence, with subject and verb first", path, i+1, found)
		}
	}
}

type document struct{ path, text string }

// documents are all that people read: README, HACKING and the files below docs.
func documents(t *testing.T) []document {
	t.Helper()
	var list []document
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "docs/*/*.1"} {
		files, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range files {
			text, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, document{p, string(text)})
		}
	}
	if len(list) < 10 {
		t.Errorf("only %d documents found", len(list))
	}
	return list
}
