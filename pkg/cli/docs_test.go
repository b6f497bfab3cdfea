// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEnvironment wants proa(1) to name every variable that the sources ask for.
func TestEnvironment(t *testing.T) {
	told := map[string]bool{
		"_LIBCONTAINER_INITTYPE": true, // libcontainer's own
		"PROA_TEST_HOSTNET":      true, // of a test
	}
	for _, o := range environmentTable {
		for _, name := range strings.Split(o.Name, ", ") {
			told[name] = true
		}
	}
	asked := regexp.MustCompile(`(?:Getenv|[lL]ookup|LookupEnv)\("([A-Za-z_]+)"\)`)
	names := 0
	for _, dir := range []string{"cmd", "libpod", "network", "pkg", "rootless", "storage"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range asked.FindAllStringSubmatch(string(text), -1) {
				names++
				if !told[m[1]] {
					t.Errorf("%s reads %s: manual.go does not name it", path, m[1])
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if names < 20 {
		t.Errorf("only %d variables found", names)
	}
}

// TestManual wants each page to say what --help cannot: what filters and fields there
// are, exit statuses, and where to read on.
func TestManual(t *testing.T) {
	pages := docPages(tree())
	for page, want := range map[string][]string{
		"man/proa-ps.1":            {".B status=STATE\n", ".B RunningFor\nCREATED\n", "join, json, lower", ".SH EXIT STATUS\n", "proa(1)"},
		"man/proa-run.1":           {".B U\nGive the files to the user of the container", ".B tmpfs\\-size=SIZE\n", ".B 126\n"},
		"man/proa-image-exists.1":  {".B 1\nIt does not.\n"},
		"man/proa-volume-ls.1":     {".B dangling=true|false\n", "proa(1), proa\\-volume(1)\n"},
		"man/proa.1":               {".SH ENVIRONMENT\n", ".B PROA_DATA_DIR\n", ".SH FILES\n", "auth.json\n", "proa\\-run(1), "},
		"man/proa-completion.1":    {".nf\n  bash  ~/.bashrc: source <(proa completion bash)\n"},
		"cli/proa-images.md":       {"| `reference=PATTERN` | ", "| `Repository` | REPOSITORY |"},
		"cli/proa-system-prune.md": {"| `until=TIME` | "},
	} {
		for _, w := range want {
			if !strings.Contains(pages[page], w) {
				t.Errorf("%s does not say %q", page, w)
			}
		}
	}
	for page, text := range pages {
		if lines := strings.Split(text, "\n"); strings.HasPrefix(page, "man/") && slices.Contains(lines[:len(lines)-1], "") {
			t.Errorf("%s has an empty line, which groff prints as it is", page)
		}
	}
}
