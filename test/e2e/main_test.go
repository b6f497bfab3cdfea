// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// stageEnv tells the child where the stage is; without it this is the parent.
const stageEnv = "PROA_E2E_STAGE"

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(stageEnv) != "" {
		os.Exit(m.Run())
	}
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, `the end-to-end tests make users and network namespaces: run them with "hack/test e2e"`)
		os.Exit(1)
	}
	withSignals()
	code := m.Run()
	if theStage != nil {
		theStage.close()
	}
	os.Exit(code)
}

// withSignals takes back that SIGINT and SIGQUIT are ignored, which a shell asks of
// a command in the background: what runs in the scripts would inherit that, and
// Ctrl-C ended nothing. A program that is started has a caught signal's default.
func withSignals() {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGQUIT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// TestUser runs testdata/user as an ordinary user with subordinate ids.
func TestUser(t *testing.T) { runSet(t, set{dir: "user", user: "proa-test", subIDs: true}) }

// TestNoSubID runs testdata/nosubid as a user who has no subordinate ids.
func TestNoSubID(t *testing.T) { runSet(t, set{dir: "nosubid", user: "proa-nosub"}) }

// TestRoot runs testdata/root as root.
func TestRoot(t *testing.T) { runSet(t, set{dir: "root", user: "root"}) }

// set is one directory of scripts and the user who runs them.
type set struct {
	dir, user string
	subIDs    bool
}

func runSet(t *testing.T, s set) {
	if dir := os.Getenv(stageEnv); dir != "" {
		runScripts(t, dir, s)
		return
	}
	st, err := getStage(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.runChild(t, s); err != nil {
		t.Fatal(err)
	}
}

// childFlags are this process's -test flags for the child: the same selection
// of scripts, the same verbosity.
func childFlags() []string {
	var args []string
	flag.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "test.run", "test.v", "test.timeout", "test.parallel", "test.failfast":
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	return args
}

// pattern is the script's part of -test.run for the test of the given name.
func childRun(args []string, name string) []string {
	out := []string{"-test.run=^" + name + "$"}
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, "-test.run="); ok {
			if _, script, ok := strings.Cut(v, "/"); ok {
				out[0] += "/" + script
			}
			continue
		}
		out = append(out, a)
	}
	return out
}
