// SPDX-License-Identifier: Apache-2.0

package userns

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
)

// children are the roles of this binary as a started process. Each tells
// about itself on stdout and ends when stdin does.
func children() map[string]func() int {
	return map[string]func() int{
		"tell": tellChild, "family": familyChild, "status": statusChild,
		"one-of-many": oneOfManyChild, "reexec": reexecChild, "sleep": sleepChild,
	}
}

func tell(key string, value any) { fmt.Printf("%s=%v\n", key, value) }

func tellChild() int {
	ns, _ := os.Readlink("/proc/self/ns/user")
	mnt, _ := os.Readlink("/proc/self/ns/mnt")
	maps, _ := os.ReadFile("/proc/self/uid_map")
	dir, _ := os.Getwd()
	fds, _ := os.ReadDir("/proc/self/fd")
	var open []string
	for _, f := range fds {
		target, _ := os.Readlink("/proc/self/fd/" + f.Name())
		flags, _ := os.ReadFile("/proc/self/fdinfo/" + f.Name())
		open = append(open, f.Name()+":"+target+":"+flagsOf(string(flags)))
	}
	tell("pid", os.Getpid())
	tell("uid", os.Getuid())
	tell("gid", os.Getgid())
	tell("inside", Inside())
	tell("ns", ns)
	tell("mnt", mnt)
	tell("map", strings.Join(strings.Fields(string(maps)), " "))
	tell("dir", dir)
	tell("fds", strings.Join(open, " "))
	tell("env", strings.Contains(strings.Join(os.Environ(), "\n"), envEnter))
	tell("end", "")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// innermost is a process's number in its own pid namespace.
func innermost(t *testing.T, pid int) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "NSpid:" {
			return f[len(f)-1]
		}
	}
	return ""
}

func flagsOf(info string) string {
	for line := range strings.Lines(info) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "flags:" {
			return f[1]
		}
	}
	return ""
}

func acquire(t *testing.T, runDir string) *Namespace {
	t.Helper()
	n, err := Acquire(t.Context(), runDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func TestCreateThenJoin(t *testing.T) {
	if asUser(t) {
		return
	}
	dir := t.TempDir()
	n := acquire(t, dir)
	if n.Exists() {
		t.Fatal("a namespace exists already")
	}
	first := begin(t, n, Options{NewPID: true}, "tell")
	if !n.Exists() {
		t.Error("after the first start the namespace does not exist")
	}
	n.Close()
	n = acquire(t, dir)
	second := begin(t, n, Options{NewPID: true}, "tell")
	third := begin(t, n, Options{NewMount: true}, "tell")
	n.Close()
	for i, r := range []*running{first, second, third} {
		if r.lines["uid"] != "0" || r.lines["gid"] != "0" || r.lines["inside"] != "true" || r.lines["env"] != "false" {
			t.Errorf("child %d: %v", i, r.lines)
		}
		if r.lines["ns"] != first.lines["ns"] {
			t.Errorf("child %d is in %s, not in %s", i, r.lines["ns"], first.lines["ns"])
		}
		if inner := innermost(t, r.pid); inner != r.lines["pid"] {
			t.Errorf("child %d: pid %d is %s inside, told %s", i, r.pid, inner, r.lines["pid"])
		}
		if !strings.HasPrefix(r.lines["map"], fmt.Sprintf("0 %d 1 1 ", os.Getuid())) {
			t.Errorf("child %d: map %q", i, r.lines["map"])
		}
	}
	if first.lines["pid"] != "1" || second.lines["pid"] != "1" || third.lines["pid"] == "1" {
		t.Errorf("own pids %s, %s, %s", first.lines["pid"], second.lines["pid"], third.lines["pid"])
	}
	if first.lines["mnt"] == second.lines["mnt"] || first.lines["dir"] != "/" {
		t.Errorf("first %v, second %v", first.lines, second.lines)
	}
	for _, r := range []*running{first, second, third} {
		r.stdin.Close()
		if !gone(r.pid) {
			t.Errorf("process %d does not end", r.pid)
		}
	}
}

// What a caller leaked to us must not live as long as a container.
func TestNothingLeaksIn(t *testing.T) {
	if asUser(t) {
		return
	}
	leak, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0) // not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	n := acquire(t, t.TempDir())
	r := begin(t, n, Options{NewPID: true}, "tell")
	if fds := r.lines["fds"]; strings.Contains(fds, "/etc/passwd") || strings.Contains(fds, "userns") {
		t.Errorf("open in the child: %s", fds)
	}
	for _, f := range strings.Fields(r.lines["fds"]) {
		p := strings.SplitN(f, ":", 3)
		number, _ := strconv.Atoi(p[0])
		flags, _ := strconv.ParseInt(p[len(p)-1][strings.LastIndexByte(p[len(p)-1], ':')+1:], 8, 64)
		if number > 2 && flags != 0 && flags&unix.O_CLOEXEC == 0 {
			t.Errorf("descriptor %s would survive an exec", f)
		}
	}
}

// Another command of the same user can open the namespace and a descriptor.
func TestOpenFromOutside(t *testing.T) {
	if asUser(t) {
		return
	}
	n := acquire(t, t.TempDir())
	for range 2 { // the one that makes it, and one that joins
		r := begin(t, n, Options{NewPID: true}, "tell")
		for _, name := range []string{"ns/user", "ns/mnt", "fd/0"} {
			path := fmt.Sprintf("/proc/%d/%s", r.pid, name)
			if _, err := os.Readlink(path); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

func statusChild() int {
	data, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		if strings.HasPrefix(key, "Sig") || key == "Groups" {
			tell(key, strings.TrimSpace(value))
		}
	}
	tell("end", "")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// A caller that ignores SIGPIPE or SIGTERM (a service manager, nohup) does not
// make the container ignore it.
func TestSignalsAreReset(t *testing.T) {
	if asUser(t) {
		return
	}
	cmd := exec.Command("/bin/sh", "-c", `trap '' TERM PIPE HUP USR1; exec "$0" -test.run='^TestSignalsAreResetInner$' -test.v`, "/proc/self/exe")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args[len(cmd.Args)-1] = self
	cmd.Env = append(os.Environ(), "USERNS_TEST_INNER=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestSignalsAreResetInner(t *testing.T) {
	if os.Getenv("USERNS_TEST_INNER") == "" {
		return // only means something with the signals of TestSignalsAreReset
	}
	r := begin(t, acquire(t, t.TempDir()), Options{NewPID: true}, "status")
	blocked, _ := strconv.ParseUint(r.lines["SigBlk"], 16, 64)
	ignored, _ := strconv.ParseUint(r.lines["SigIgn"], 16, 64)
	// Signals 32 and 33 are the C library's own: under the race detector it has
	// had its way with them.
	const own = 1<<31 | 1<<32
	if blocked&^own != 0 || ignored&^own != 0 {
		t.Errorf("blocked %x, ignored %x", blocked, ignored)
	}
}

// familyChild has a child that becomes another user, which clears the parent
// death signal, and leaves the process group.
func familyChild() int {
	// Go forks with the memory shared: the child's change of user clears the
	// dumpable flag of this process too, and nobody could join it any more. By
	// then whoever started it has.
	time.Sleep(300 * time.Millisecond)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envChild+"=sleep")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: 33, Gid: 33}}
	if err := cmd.Start(); err != nil {
		tell("error", err)
	} else {
		tell("inner", cmd.Process.Pid)
	}
	tell("end", "")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

func sleepChild() int {
	time.Sleep(50 * time.Second)
	return 0
}

func TestKillOfProcessOneKillsAll(t *testing.T) {
	if asUser(t) {
		return
	}
	r := begin(t, acquire(t, t.TempDir()), Options{NewPID: true}, "family")
	inner := descendants(r.pid)
	if r.lines["inner"] == "" || len(inner) != 1 {
		t.Fatalf("child %v, processes %v", r.lines, inner)
	}
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d", inner[0]), &st); err != nil || st.Uid == uint32(os.Getuid()) {
		t.Fatalf("the inner process should have changed its user: %d, %v", st.Uid, err)
	}
	if err := syscall.Kill(r.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !gone(r.pid) || !gone(inner[0]) {
		t.Errorf("process %d survives the kill of %d", inner[0], r.pid)
	}
}

func descendants(pid int) []int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if len(data) == 0 {
		for _, task := range tasks {
			more, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
			data = append(data, more...)
		}
	}
	var out []int
	for _, f := range strings.Fields(string(data)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// oneOfManyChild is one of fifty commands: it starts a process inside, tells
// its namespace and holds it until stdin closes.
func oneOfManyChild() int {
	n, err := Acquire(context.Background(), os.Args[1])
	if err != nil {
		tell("ns", err)
		return 1
	}
	defer n.Close()
	in, _, err := os.Pipe() // stays open as long as we live
	if err != nil {
		return 1
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envChild+"=tell")
	cmd.Stdin, cmd.Stderr = in, os.Stderr
	c, err := n.Start(cmd, Options{NewPID: true})
	if err != nil {
		tell("ns", err)
		return 1
	}
	pid, err := c.Ready(context.Background())
	if err != nil {
		tell("ns", err)
		return 1
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", pid))
	fmt.Println("ns=", ns, err)
	io.Copy(io.Discard, os.Stdin)
	return 0
}

func TestManyAtOnceShareOneNamespace(t *testing.T) {
	if asUser(t) {
		return
	}
	const many = 50
	dir := t.TempDir()
	answers := make([]string, many)
	inputs := make([]*os.File, many)
	cmds := make([]*exec.Cmd, many)
	var wg sync.WaitGroup
	for i := range many {
		cmd, stdin, stdout := childCommand(t, "one-of-many", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmd.Stdin.(*os.File).Close()
		cmd.Stdout.(*os.File).Close()
		inputs[i], cmds[i] = stdin, cmd
		wg.Go(func() { answers[i], _ = bufio.NewReader(stdout).ReadString('\n') })
	}
	wg.Wait()
	for i := range many {
		inputs[i].Close()
	}
	for i := range many {
		if err := cmds[i].Wait(); err != nil {
			t.Errorf("command %d: %v", i, err)
		}
	}
	slices.Sort(answers)
	if got := slices.Compact(answers); len(got) != 1 || !strings.Contains(got[0], "user:[") {
		t.Errorf("%d namespaces: %q", len(got), got)
	}
}

// With the pointer's process dead, a monitor's status file leads on.
func TestFindThroughStatusFile(t *testing.T) {
	if asUser(t) {
		return
	}
	dir := t.TempDir()
	r := begin(t, acquire(t, dir), Options{NewPID: true}, "tell")
	start, err := rundir.StartTime(r.pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := writePointer(dir, rundir.Process{PID: r.pid, Start: 12345}); err != nil { // as if the pid had been given to another
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "c", "dead"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "c", "live"), 0o700); err != nil {
		t.Fatal(err)
	}
	status := fmt.Sprintf(`{"state":"running","monitorPid":%d,"monitorStart":%d}`, r.pid, start)
	for name, text := range map[string]string{"dead": `{"monitorPid":1,"monitorStart":1}`, "live": status} {
		if err := os.WriteFile(filepath.Join(dir, "c", name, rundir.StatusFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := acquire(t, dir)
	if !n.Exists() {
		t.Fatal("not found")
	}
	if h, err := readPointer(dir); err != nil || h.PID != r.pid || h.Start != start {
		t.Errorf("the pointer was not renewed: %+v, %v", h, err)
	}
	m, err := n.Mapping()
	if err != nil || m.Single || len(m.UIDs) < 2 || m.UIDs[0].Outside != uint32(os.Getuid()) {
		t.Errorf("mapping %+v, %v", m, err)
	}
}

func TestSingleMap(t *testing.T) {
	if asUser(t) {
		return
	}
	n := acquire(t, t.TempDir())
	n.mapping = Mapping{
		Single: true,
		UIDs:   []spec.IDMap{{Inside: 0, Outside: uint32(os.Getuid()), Count: 1}},
		GIDs:   []spec.IDMap{{Inside: 0, Outside: uint32(os.Getgid()), Count: 1}},
	}
	r := begin(t, n, Options{NewPID: true}, "tell")
	if want := fmt.Sprintf("0 %d 1", os.Getuid()); r.lines["map"] != want || r.lines["uid"] != "0" || r.lines["pid"] != "1" {
		t.Errorf("%v, want map %q", r.lines, want)
	}
}

func TestHelperRefuses(t *testing.T) {
	if asUser(t) {
		return
	}
	n := acquire(t, t.TempDir())
	n.mapping.UIDs = append(slices.Clone(n.mapping.UIDs), spec.IDMap{Inside: 1 << 20, Outside: 5, Count: 1})
	cmd, _, _ := childCommand(t, "tell")
	c, err := n.Start(cmd, Options{NewPID: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Ready(t.Context())
	if !errs.Is(err, errs.Denied) || !strings.Contains(errs.HintOf(err), "/etc/subuid") || !strings.Contains(fmt.Sprint(err), "not allowed") {
		t.Errorf("error %v, hint %q", err, errs.HintOf(err))
	}
	if n.Exists() {
		t.Error("a failed start left a namespace")
	}
}

func TestLockWaitEndsWithTheContext(t *testing.T) {
	if asUser(t) {
		return
	}
	dir := t.TempDir()
	n := acquire(t, dir) // about to make it: holds the lock
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Acquire(ctx, dir); !errs.Is(err, errs.Timeout) {
		t.Errorf("got %v", err)
	}
	n.Close()
	if err := n.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	acquire(t, dir)
}

func reexecChild() int {
	if Inside() {
		for _, key := range []string{envConfigured, envUID, "PROA_RUN_DIR"} {
			tell(key, os.Getenv(key))
		}
		tell("end", "")
		if os.Args[1] == "sleep" {
			time.Sleep(20 * time.Second)
		}
		return 42
	}
	n, err := Acquire(context.Background(), os.Getenv("PROA_RUN_DIR"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	exit, err := Reexec(context.Background(), n, os.Args[1:])
	if err != nil {
		fmt.Println(err)
	}
	return exit
}

func TestReexec(t *testing.T) {
	if asUser(t) {
		return
	}
	for _, tc := range []struct {
		arg  string
		kill syscall.Signal
		want int
	}{{"return", 0, 42}, {"sleep", syscall.SIGTERM, 128 + 15}, {"sleep", syscall.SIGINT, 128 + 2}} {
		cmd, _, stdout := childCommand(t, "reexec", tc.arg)
		run := t.TempDir()
		cmd.Env = append(cmd.Env, "PROA_RUN_DIR="+run, "PROA_DATA_DIR="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmd.Stdout.(*os.File).Close()
		lines := bufio.NewScanner(stdout)
		var text []string
		for lines.Scan() && lines.Text() != "end=" {
			text = append(text, lines.Text())
		}
		want := []string{envConfigured + "=done", fmt.Sprintf("%s=%d", envUID, os.Getuid()), "PROA_RUN_DIR=" + run}
		if !slices.Equal(text, want) {
			t.Errorf("inside: %q, want %q", text, want)
		}
		if tc.kill != 0 {
			if err := cmd.Process.Signal(tc.kill); err != nil {
				t.Fatal(err)
			}
			// A namespace with a long command inside must not keep others out.
			os.Remove(filepath.Join(run, pointerName))
			acquire(t, run)
		}
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != tc.want {
			t.Errorf("%v: exit %d, want %d", tc, got, tc.want)
		}
	}
}

func TestCleanEnv(t *testing.T) {
	got := CleanEnv([]string{"A=1", envEnter + "=x", envUID + "=1", "B=2", "C"}, "B")
	if want := []string{"A=1", "C"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRealRootNeedsNone(t *testing.T) {
	if !privilegedHere() || os.Getenv(envAsUser) != "" {
		t.Skip("needs real root")
	}
	n := acquire(t, t.TempDir())
	if !n.None() || n.Exists() {
		t.Errorf("none %v, exists %v", n.None(), n.Exists())
	}
	r := begin(t, n, Options{NewPID: true}, "tell")
	ours, _ := os.Readlink("/proc/self/ns/user")
	mnt, _ := os.Readlink("/proc/self/ns/mnt")
	if r.lines["ns"] != ours || r.lines["mnt"] == mnt || r.lines["pid"] != "1" || innermost(t, r.pid) != "1" {
		t.Errorf("%v", r.lines)
	}
}
