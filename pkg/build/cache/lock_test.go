// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"os"
	"path/filepath"
	"testing"
)

// What a killed build left is removed, with its lock or before it had one; what a
// running build has is not touched.
func TestWorkDirSweep(t *testing.T) {
	parent := t.TempDir()
	live, remove, err := WorkDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(live, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{workPrefix + "locked", workPrefix + "bare"} {
		if err := os.MkdirAll(filepath.Join(parent, name, "d"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(parent, workPrefix+"locked.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	next, removeNext, err := WorkDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(parent, workPrefix+"*"))
	if len(left) != 4 { // two directories with a lock each
		t.Errorf("there are %v; live are %s and %s", left, live, next)
	}
	if _, err := os.Stat(filepath.Join(live, "f")); err != nil {
		t.Errorf("of the running build: %v", err)
	}
	remove()
	removeNext()
	if left, _ := filepath.Glob(filepath.Join(parent, workPrefix+"*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
