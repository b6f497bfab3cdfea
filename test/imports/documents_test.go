// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestSecurityNamesScripts: each promise of docs/SECURITY.md names the scripts that
// show it. One that was renamed leaves a promise without a test.
func TestSecurityNamesScripts(t *testing.T) {
	text, err := os.ReadFile("../../docs/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, list := range regexp.MustCompile(`[(;] ?((?:\[[a-z-]+\](?:, | )?)+)`).FindAllStringSubmatch(string(text), -1) {
		for _, name := range regexp.MustCompile(`[a-z-]+`).FindAllString(list[1], -1) {
			found++
			if m, _ := filepath.Glob("../e2e/testdata/*/" + name + ".txtar"); len(m) == 0 {
				t.Errorf("docs/SECURITY.md names %q, and there is no such script", name)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d scripts are named", found)
	}
}
