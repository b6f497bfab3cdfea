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
	live, remove, err := WorkDir(t.Context(), parent)
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
	next, removeNext, err := WorkDir(t.Context(), parent)
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

// A killed build's directory is abandoned, a running one's is not; Clean removes the
// first one only, and needs nothing to be there.
func TestClean(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "p")
	if err := Clean(t.Context(), parent); err != nil || Abandoned(parent) {
		t.Error(err)
	}
	if _, err := os.Stat(parent); err == nil {
		t.Error("the directory was made")
	}
	live, remove, err := WorkDir(t.Context(), parent)
	if err != nil {
		t.Fatal(err)
	}
	if Abandoned(parent) {
		t.Error("that of a running build counts as abandoned")
	}
	dead := filepath.Join(parent, workPrefix+"dead")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if !Abandoned(parent) {
		t.Error("that of a killed build does not count")
	}
	if err := Clean(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("that of a killed build is still there")
	}
	if _, err := os.Stat(live); err != nil {
		t.Error(err)
	}
	remove()
	remove()
	if left, _ := filepath.Glob(filepath.Join(parent, workPrefix+"*")); len(left) > 0 {
		t.Error("left: ", left)
	}
}
