// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands are what scripts can say beyond testscript's own.
func (b *bench) commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"proa":         runNamed("proa"),
		"docker":       runNamed("docker"),
		"status":       cmdStatus,
		"wait-for":     cmdWaitFor,
		"within":       cmdWithin,
		"tty":          cmdTTY,
		"killmonitor":  cmdKillMonitor,
		"root":         b.cmdRoot,
		"freeport":     cmdFreePort,
		"leakcheck":    b.cmdLeakCheck,
		"count":        cmdCount,
		"npm-registry": cmdNpmRegistry,
		"skip-for":     b.cmdSkipFor,
		"registry":     cmdRegistry,
	}
}

// runNamed makes "proa ARGS" mean "exec proa ARGS".
func runNamed(name string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		err := ts.Exec(name, args...)
		if neg && err == nil {
			ts.Fatalf("%s succeeded, which was not expected", name)
		}
		if !neg && err != nil {
			ts.Fatalf("%s failed: %v", name, err)
		}
	}
}

// status CODE COMMAND ARGS... requires an exact exit status.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status code command [args...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		ee, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = ee.ExitCode()
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// wait-for [-t DURATION] [!] COMMAND... repeats the command until it succeeds
// (with !: fails), 10 s at most.
func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	limit := 10 * time.Second
	if len(args) > 1 && args[0] == "-t" {
		d, err := time.ParseDuration(args[1])
		ts.Check(err)
		limit, args = d, args[2:]
	}
	want := true
	if len(args) > 0 && args[0] == "!" {
		want, args = false, args[1:]
	}
	if len(args) > 1 && args[0] == "exec" { // as scripts say it elsewhere
		args = args[1:]
	}
	if neg || len(args) == 0 {
		ts.Fatalf("usage: wait-for [-t duration] [!] command [args...]")
	}
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if (err == nil) == want {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not so within %s: %s", limit, strings.Join(args, " "))
		}
	}
}

// within MIN MAX COMMAND... requires that the command takes so long.
func cmdWithin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: within min max command [args...]")
	}
	lo, err := time.ParseDuration(args[0])
	ts.Check(err)
	hi, err := time.ParseDuration(args[1])
	ts.Check(err)
	began := time.Now()
	if err := ts.Exec(args[2], args[3:]...); err != nil {
		ts.Fatalf("%v", err)
	}
	if took := time.Since(began); took < lo || took > hi {
		ts.Fatalf("took %s, want %s to %s", took.Round(time.Millisecond), lo, hi)
	}
}

// root COMMAND... runs it as root, outside of every container.
func (b *bench) cmdRoot(ts *testscript.TestScript, neg bool, args []string) {
	reply, err := askRoot(b.stage, rootRequest{Exec: args})
	fmt.Fprint(ts.Stdout(), reply.Output)
	if neg != (err != nil) {
		ts.Fatalf("root %s: %v\n%s", strings.Join(args, " "), err, reply.Output)
	}
}

// freeport NAME... sets each variable to a TCP port that nobody uses. It is none
// of those that the kernel gives to clients: one of another script could have it
// by the time that it is published.
func cmdFreePort(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		for {
			port := strconv.Itoa(10000 + rand.IntN(20000))
			if ln, err := net.Listen("tcp", "0.0.0.0:"+port); err == nil {
				defer ln.Close()
				ts.Setenv(name, port)
				break
			}
		}
	}
}

// leakcheck requires that nothing of any container is there now.
func (b *bench) cmdLeakCheck(ts *testscript.TestScript, neg bool, args []string) {
	tr := ts.Value(tracesKey{}).(traces)
	reply, err := askRoot(b.stage, rootRequest{Traces: &tr})
	ts.Check(err)
	if len(reply.Found) > 0 {
		ts.Fatalf("left behind:\n\t%s", strings.Join(reply.Found, "\n\t"))
	}
}

// count N FILE requires that the file ("stdout" too) has N lines.
func cmdCount(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: count lines file")
	}
	got := strings.Count(ts.ReadFile(args[1]), "\n")
	if (strconv.Itoa(got) == args[0]) == neg {
		ts.Fatalf("%d lines in %s", got, args[1])
	}
}

// killmonitor CONTAINER kills the container's monitor as "kill -9" does and
// waits for its death.
func cmdKillMonitor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: killmonitor container")
	}
	pid, err := monitorPID(ts, args[0])
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
	for deadline := time.Now().Add(5 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("monitor %d survives SIGKILL", pid)
		}
	}
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	if len(rest) == 0 || rest[0] == 'X' {
		return false
	}
	if rest[0] != 'Z' {
		return true
	}
	// While another thread is on its way out the process still has its files, and
	// with them its locks.
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return len(threads) > 1
}

// monitorPID reads the monitor's status file, as HACKING.md tells.
func monitorPID(ts *testscript.TestScript, container string) (int, error) {
	if err := ts.Exec("proa", "inspect", "--format", "{{.Id}}", container); err != nil {
		return 0, err
	}
	id := strings.TrimSpace(ts.ReadFile("stdout"))
	data, err := os.ReadFile(filepath.Join(ts.Getenv("RUN"), "c", id, "status.json"))
	if err != nil {
		return 0, err
	}
	var st struct{ MonitorPID int }
	if err := json.Unmarshal(data, &st); err != nil {
		return 0, err
	}
	if st.MonitorPID <= 1 {
		return 0, fmt.Errorf("no monitor pid in %s", data)
	}
	return st.MonitorPID, nil
}

func scriptCommand(vars []string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = vars
	cmd.WaitDelay = 5 * time.Second
	return cmd
}
