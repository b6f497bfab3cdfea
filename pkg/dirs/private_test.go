// SPDX-License-Identifier: Apache-2.0

package dirs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

// TestEnsurePrivate: a directory of the user's own is closed where only Proa
// uses it, refused where others may write and it holds other things.
func TestEnsurePrivate(t *testing.T) {
	for name, c := range map[string]struct {
		mode    os.FileMode
		entries []string
		after   os.FileMode // 0: refused
	}{
		"private":           {0o700, []string{"letters"}, 0o700},
		"empty, open":       {0o777, nil, 0o700},
		"empty, readable":   {0o755, nil, 0o700},
		"ours, open":        {0o777, []string{"state.db", "state.db-wal", "storage", ".names.proa-tmp-1"}, 0o700},
		"ours, group":       {0o770, []string{"volumes"}, 0o700},
		"shared, readable":  {0o755, []string{"storage", "letters"}, 0o755},
		"shared, open":      {0o777, []string{"storage", "letters"}, 0},
		"shared, for group": {0o775, []string{"letters"}, 0},
		"as /tmp":           {0o777 | os.ModeSticky, []string{"letters"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "d")
			if err := os.Mkdir(p, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, e := range c.entries {
				if err := os.WriteFile(filepath.Join(p, e), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(p, c.mode); err != nil {
				t.Fatal(err)
			}
			_, notice, err := ensurePrivate(p, os.Getuid(), dataNames)
			if c.after == 0 {
				if !errs.Is(err, errs.Denied) || errs.HintOf(err) == "" {
					t.Fatalf("not refused: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (notice != "") != (c.after != c.mode && len(c.entries) > 0) {
				t.Errorf("notice %q", notice)
			}
			if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != c.after {
				t.Errorf("mode %v, %v", fi.Mode(), err)
			}
			if _, again, err := ensurePrivate(p, os.Getuid(), dataNames); again != "" || err != nil {
				t.Errorf("the second time: %q, %v", again, err)
			}
		})
	}
}

// TestEnsurePrivateLink: a link is followed where the user or root made it, wherever
// it stands in the path.
func TestEnsurePrivateLink(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if real, _, err := ensurePrivate(filepath.Join(link, "below"), os.Getuid(), runNames); err != nil || real != target+"/below" {
		t.Errorf("below the link: %q, %v", real, err)
	}
	if err := os.Remove(target + "/below"); err != nil {
		t.Fatal(err)
	}
	if real, _, err := ensurePrivate(link, os.Getuid(), runNames); err != nil || real != target {
		t.Errorf("the link itself: %q, %v", real, err)
	}
	if fi, err := os.Stat(target); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	// The uid that is asked for is neither the link's owner nor root.
	if os.Getuid() != 0 {
		if _, _, err := ensurePrivate(link, os.Getuid()+1, runNames); !errs.Is(err, errs.Denied) || errs.HintOf(err) == "" {
			t.Errorf("somebody else's link: %v", err)
		}
	}
}

// TestNamesAreDocumented: every name that docs/STATE.md lists in a root is known
// here, else a directory that holds it would not be closed.
func TestNamesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/STATE.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("`([^`]+)`")
	for heading, own := range map[string][]string{"\n## Data\n": dataNames, "\n## Run\n": runNames} {
		_, section, _ := strings.Cut(string(text), heading)
		section, _, _ = strings.Cut(section, "\n## ")
		seen := 0
		for line := range strings.Lines(section) {
			cell, ok := strings.CutPrefix(line, "| `")
			if !ok {
				continue
			}
			cell, _, _ = strings.Cut("`"+cell, " | ")
			first := ""
			for i, m := range code.FindAllStringSubmatch(cell, -1) {
				name, _, _ := strings.Cut(m[1], "/")
				switch {
				case i == 0:
					first = name
				case strings.HasPrefix(name, "-"):
					name = first + name // as in `state.db`, `-wal`
				default:
					continue // beside the first, below the root or not
				}
				seen++
				if !owns(own, strings.Replace(name, "HASH", "0", 1)) {
					t.Errorf("%s: %q is not in the list", strings.TrimSpace(heading), name)
				}
			}
		}
		if seen < 8 {
			t.Errorf("%s: only %d names found", strings.TrimSpace(heading), seen)
		}
	}
}
