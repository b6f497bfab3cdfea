// SPDX-License-Identifier: Apache-2.0

package source

import (
	"os"
	"path/filepath"
	"testing"
)

func TestIncludesFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("there.d/a.conf", "")
	for text, want := range map[string]bool{
		"":                                        false,
		"Host *\n\tSendEnv LANG\n":                false,
		"# Include there.d/*.conf\n":              false,
		"Include empty.d/*.conf\n":                false,
		"Include there.d/*.conf\n":                true,
		"Host *\n  include\tthere.d/a.conf\n":     true,
		"Include empty.d/*.conf there.d/*.conf":   true,
		"include = \"" + dir + "/there.d/*\"\n":   true,
		"IncludeMe there.d/*.conf\nInclude\n":     false,
		"Include " + dir + "/there.d/*.missing\n": false,
	} {
		write("ssh_config", text)
		if got := includesFiles(filepath.Join(dir, "ssh_config")); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if includesFiles(filepath.Join(dir, "missing")) {
		t.Error("a missing configuration includes something")
	}
}
