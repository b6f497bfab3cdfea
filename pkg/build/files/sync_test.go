// SPDX-License-Identifier: Apache-2.0

package files

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSync(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the copies get owners, which takes root")
	}
	from, to := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, dir, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	outside := t.TempDir()
	write(outside, "f", "not ours")
	write(from, "new/f", "1")
	write(from, "changed", "2")
	write(from, "becomes-file", "3")
	write(from, "becomes-dir/f", "4")
	link("changed", from, "link")
	write(to, "changed", "old")
	write(to, "gone/f", "old")
	write(to, "becomes-file/f", "old")
	write(to, "becomes-dir", "old")
	link(outside, to, "link")
	link(outside, to, "gone/outside")
	// The same file in both stays that: nothing is written for it.
	write(from, "same", "5")
	if err := os.Link(filepath.Join(from, "same"), filepath.Join(to, "same")); err != nil {
		t.Fatal(err)
	}
	if err := Sync(to, from); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"new/f": "1", "changed": "2", "becomes-file": "3", "becomes-dir/f": "4", "link": "2", "same": "5"} {
		if text, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(to, "gone")); !os.IsNotExist(err) {
		t.Errorf("what is to be gone: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(outside, "f")); err != nil || string(text) != "not ours" {
		t.Errorf("outside: %q, %v", text, err)
	}
	a, errA := os.Stat(filepath.Join(from, "same"))
	b, errB := os.Stat(filepath.Join(to, "same"))
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		t.Errorf("the same file was written anew: %v, %v", errA, errB)
	}
	if err := Sync(filepath.Join(to, "nothere"), from); err == nil {
		t.Error("a destination that is not there was accepted")
	}
}
