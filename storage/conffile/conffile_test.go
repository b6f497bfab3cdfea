// SPDX-License-Identifier: Apache-2.0

package conffile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.podman.io/storage/pkg/configfile"

	"github.com/proa-containers/proa/pkg/errs"
)

// TestCheck: what is absent is fine; what a link stands for and is absent is not,
// wherever on the way the link lies, unless a file of a higher rank exists.
func TestCheck(t *testing.T) {
	const nowhere = "/nonexistent/of-proa"
	write := func(t *testing.T, path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(t *testing.T, path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(nowhere, path); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		files, links []string // "u/": the user's, "s/": the system's
		bad          bool
	}{
		"nothing":               {},
		"the user's link":       {links: []string{"u/x.conf"}, bad: true},
		"the system's link":     {links: []string{"s/x.conf"}, bad: true},
		"a link above it":       {links: []string{"u"}, bad: true},
		"of a lower rank":       {files: []string{"u/x.conf"}, links: []string{"s/x.conf"}},
		"of a higher rank":      {files: []string{"s/x.conf"}, links: []string{"u/x.conf"}, bad: true},
		"a drop-in":             {files: []string{"u/x.conf"}, links: []string{"u/x.conf.d/a.conf"}, bad: true},
		"the drop-in directory": {links: []string{"s/x.conf.d"}, bad: true},
		"another file":          {links: []string{"u/x.conf.d/README"}},
	} {
		t.Run(name, func(t *testing.T) {
			home, root := t.TempDir(), t.TempDir()
			t.Setenv("XDG_CONFIG_HOME", home)
			place := func(name string) string {
				dir, rest := filepath.Join(home, "containers"), strings.TrimPrefix(name, "u")
				if rest == name {
					dir, rest = filepath.Join(root, "usr/share/containers"), strings.TrimPrefix(name, "s")
				}
				return dir + rest
			}
			for _, f := range c.files {
				write(t, place(f))
			}
			for _, l := range c.links {
				link(t, place(l))
			}
			err := Check(&configfile.File{Name: "x", Extension: "conf", RootForImplicitAbsolutePaths: root})
			if (err != nil) != c.bad || err != nil && (!errs.Is(err, errs.Invalid) || errs.HintOf(err) == "") {
				t.Errorf("got %v", err)
			}
		})
	}
}
