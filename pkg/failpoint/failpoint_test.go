// SPDX-License-Identifier: Apache-2.0

package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	points, err := parse(" a.b=kill; c=error;d=error:disk full ;e=sleep:200ms;")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]action{
		"a.b": {kind: actKill},
		"c":   {kind: actError},
		"d":   {kind: actError, text: "disk full"},
		"e":   {kind: actSleep, delay: 200 * time.Millisecond},
	}
	if len(points) != len(want) {
		t.Fatalf("got %v", points)
	}
	for k, v := range want {
		if points[k] != v {
			t.Errorf("%s = %+v, want %+v", k, points[k], v)
		}
	}
	for _, bad := range []string{"a", "=kill", "a=", "a=boom", "a=sleep", "a=sleep:x", "a=sleep:-1s", "a=kill:9"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("parse(%q) succeeded", bad)
		}
	}
	if points, err := parse(""); points != nil || err != nil {
		t.Errorf("parse of nothing: %v, %v", points, err)
	}
}

func TestActions(t *testing.T) {
	err := action{kind: actError, text: "disk full"}.run("x")
	if !errors.Is(err, ErrInjected) || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("error action: %v", err)
	}
	begin := time.Now()
	if err := (action{kind: actSleep, delay: 20 * time.Millisecond}).run("x"); err != nil {
		t.Error(err)
	}
	if time.Since(begin) < 20*time.Millisecond {
		t.Error("sleep returned early")
	}
}

// TestKill runs this test again as a child: once as an ordinary process, and
// once as pid 1 of a pid namespace, where SIGKILL to oneself does nothing.
func TestKill(t *testing.T) {
	if os.Getenv(Env) != "" {
		_ = Hit("here")
		os.Stdout.WriteString("survived\n")
		return
	}
	for _, flags := range []uintptr{0, syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), Env+"=here=kill")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		out, err := cmd.CombinedOutput()
		if flags != 0 && errors.Is(err, syscall.EPERM) {
			t.Logf("no user namespaces here: %v", err)
			continue
		}
		if err == nil || strings.Contains(string(out), "survived") {
			t.Errorf("flags %x: the child survived: %v\n%s", flags, err, out)
		}
	}
}

func BenchmarkHitUnarmed(b *testing.B) {
	for b.Loop() {
		_ = Hit("x")
	}
}
