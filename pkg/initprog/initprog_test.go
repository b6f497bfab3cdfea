// SPDX-License-Identifier: Apache-2.0

package initprog

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func initPath(t *testing.T) string {
	t.Helper()
	if !Available() {
		t.Skip("no init program for this architecture")
	}
	name := filepath.Join(t.TempDir(), "init")
	if err := Write(name); err != nil {
		t.Fatal(err)
	}
	return name
}

func code(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	var e *exec.ExitError
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	return e.ExitCode()
}

// A container that made its mount writable has changed the program, or what
// another one of that name is.
func TestChangedProgramIsReplaced(t *testing.T) {
	name := initPath(t)
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	was, err := os.Stat(name)
	if err != nil || was.Mode() != 0o555 {
		t.Fatal(was, err)
	}
	write := func() os.FileInfo {
		if err := Write(name); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		st, err := os.Lstat(name)
		if err != nil || st.Mode() != 0o555 {
			t.Error(st, err)
		}
		return st
	}
	if !os.SameFile(was, write()) {
		t.Error("an unchanged program was written again")
	}
	// Of the same size.
	if err := errors.Join(os.Chmod(name, 0o755), os.WriteFile(name, bytes.Repeat([]byte("x"), len(want)), 0), os.Chmod(name, 0o555)); err != nil {
		t.Fatal(err)
	}
	if os.SameFile(was, write()) {
		t.Error("written in place: a container that still has it mounted would have it too")
	}
	if err := errors.Join(os.Remove(name), os.Symlink("/bin/true", name)); err != nil {
		t.Fatal(err)
	}
	write()
}

func TestExitCodes(t *testing.T) {
	name := initPath(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "broken"), []byte("\x7fnonsense"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := "PATH=/nowhere:" + dir + ":/usr/bin:/bin"
	for _, tc := range []struct {
		args   []string
		env    string
		code   int
		stderr string
	}{
		{[]string{"--", "true"}, path, 0, ""},
		{[]string{"true"}, path, 0, ""},
		{[]string{"--", "sh", "-c", "exit 37"}, path, 37, ""},
		{[]string{"--", "sh", "-c", "kill -9 $$"}, path, 137, ""},
		{[]string{"--", "sh", "-c", "kill -TERM $$"}, path, 143, ""},
		{[]string{"--", "/bin/sh", "-c", "exit 3"}, path, 3, ""},
		{[]string{"--", "sh", "-c", "exit 4"}, "NOPATH=1", 4, ""},
		{[]string{"--", "no-such-thing"}, path, 127, `init: cannot run "no-such-thing": not found`},
		{[]string{"--", "/no/such/thing"}, path, 127, "not found"},
		{[]string{"--", "plain"}, path, 126, `init: cannot run "plain": permission denied`},
		{[]string{"--", "broken"}, path, 126, "not a program"},
		{[]string{"--"}, path, 127, "init: no command"},
		{nil, path, 127, "init: no command"},
	} {
		cmd := exec.Command(name, tc.args...)
		cmd.Env = []string{tc.env}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if got := code(t, cmd.Run()); got != tc.code || !strings.Contains(stderr.String(), tc.stderr) {
			t.Errorf("%q with %s: code %d, %q; want %d, %q", tc.args, tc.env, got, stderr.String(), tc.code, tc.stderr)
		}
	}
}

// The command has the arguments, the environment and the blocked signals that
// init was given, and a process group of its own.
func TestCommandIsUntouched(t *testing.T) {
	// What this test process hands on: not nothing under the race detector.
	blocked, err := exec.Command("grep", "SigBlk", "/proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	// Without a program of its own to read the status: dash blocks everything
	// while it starts one.
	cmd := exec.Command(initPath(t), "--", "sh", "-c", `echo "$0 $1 $A"; while read -r k v; do [ "$k" != SigBlk: ] || printf '%s\t%s\n' $k $v; done </proc/$$/status; set -- $(cat /proc/$$/stat); [ $1 = $5 ] && echo group`, "x y", "--")
	cmd.Env = append(os.Environ(), "A=b")
	out, err := cmd.CombinedOutput()
	if want := "x y -- b\n" + string(blocked) + "group\n"; err != nil || string(out) != want {
		t.Errorf("%v, %q; want %q", err, out, want)
	}
}

func TestSignalsAreForwarded(t *testing.T) {
	name := initPath(t)
	// Below nohup a shell could not set a trap: what is ignored stays so.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGWINCH, syscall.Signal(34)} {
		cmd := exec.Command(name, "--", "bash", "-c", `trap "exit 9" `+trapName(sig)+`; echo ready; while :; do sleep 0.02; done`)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 6)); err != nil {
			t.Error(err)
		}
		_ = cmd.Process.Signal(sig)
		stop := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		if got := code(t, cmd.Wait()); got != 9 {
			t.Errorf("%v: code %d, want 9", sig, got)
		}
		stop.Stop()
	}
}

func trapName(s syscall.Signal) string {
	return map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP", syscall.SIGUSR1: "USR1", syscall.SIGWINCH: "WINCH"}[s] +
		map[bool]string{true: "RTMIN"}[s == 34]
}

// As process 1 of a pid namespace it has orphans, which must not stay zombies.
func TestReapsOrphans(t *testing.T) {
	cmd := exec.Command(initPath(t), "--", "sh", "-c",
		`for i in 1 2 3 4 5; do (sleep 0.05 & exec true); done; sleep 0.5; n=0; for s in /proc/[0-9]*/stat; do read -r l <$s; case "$l" in *") Z "*) n=$((n+1));; esac; done; exit $n`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
	cmd.Args = append([]string{cmd.Args[0], "--", "sh", "-c", `mount -t proc proc /proc && exec "$@"`, "-"}, cmd.Args[2:]...)
	err := cmd.Run()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("no user namespaces here")
	}
	if got := code(t, err); got != 0 {
		t.Errorf("code %d: so many zombies", got)
	}
}

// The bytes are what the compiler that they name makes of the source.
func TestBytesFollowFromSource(t *testing.T) {
	cc, version, _ := strings.Cut(compiler, " ")
	got, err := exec.Command(cc, "-dumpfullversion").Output()
	if err != nil || strings.TrimSpace(string(got)) != version {
		t.Skipf("%s %s is not at hand", cc, version)
	}
	out := filepath.Join(t.TempDir(), "init")
	if msg, err := exec.Command("src/compile", cc, out).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
	elf, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if base64.StdEncoding.EncodeToString(elf) != program {
		t.Error("src/init.c has changed: run go generate ./pkg/initprog")
	}
}
