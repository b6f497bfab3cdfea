// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// settle on plain files shows what is written; the kernel's part is seen by
// TestDelegated where the host has cgroup v2.
func TestSettleWritesOnlyWhatIsMissing(t *testing.T) {
	mount := t.TempDir()
	base := filepath.Join(mount, "unit")
	if err := os.MkdirAll(filepath.Join(base, supervisor), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"cgroup.procs": "", "cgroup.subtree_control": "memory", supervisor + "/cgroup.procs": "",
	} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := settle(mount, "/unit", []string{"memory"}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(base, "cgroup.subtree_control")); string(got) != "memory" {
		t.Errorf("rewritten as %q", got)
	}
	if err := settle(mount, "/unit", []string{"memory", "pids", "cpu"}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(base, "cgroup.subtree_control")); !strings.HasPrefix(string(got), "+pids +cpu") {
		t.Errorf("wrote %q", got)
	}
}

func TestProbeAgreesWithTheHost(t *testing.T) {
	f := Probe()
	p := Decide(f)
	t.Logf("%+v\n%+v", f, p)
	if _, err := os.Stat(filepath.Join(Mount, "cgroup.controllers")); (err == nil) != f.V2 {
		t.Errorf("V2 is %v, %v", f.V2, err)
	}
	if p.Kind == None && (p.Reason == "" || p.Fix == "") {
		t.Errorf("no reason or no fix: %+v", p)
	}
}

// TestPrepare makes a real scope, or uses the delegated cgroup that the tests
// run in, and puts a limit on a child of it.
func TestPrepare(t *testing.T) {
	p := Find()
	if p.Kind == None || !p.V2 || os.Getuid() == 0 {
		t.Skipf("needs an unprivileged user with a cgroup of his own: %s", p.Reason)
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	base, err := p.Prepare(context.Background(), "test", cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if own, err := pathOf(cmd.Process.Pid); err != nil || own != base+"/"+supervisor {
		t.Errorf("the process is in %q (%v), not below %q", own, err, base)
	}
	dir := filepath.Join(Mount, base, "proa-test")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(p.Controllers, "memory") {
		if err := writeFile(filepath.Join(dir, "memory.max"), "50000000"); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.Prepare(context.Background(), "test", cmd.Process.Pid); p.Kind == Direct && err != nil {
		t.Errorf("a second time: %v", err)
	}
	p.Remove(base, "test")
	if _, err := os.Stat(dir); err == nil {
		t.Error("the container's cgroup is still there")
	}
}
