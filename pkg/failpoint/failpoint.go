// SPDX-License-Identifier: Apache-2.0

// Package failpoint lets tests break a program at a named place. The variable
// PROA_FAILPOINT says where and how:
//
//	PROA_FAILPOINT="create.committed=kill;launch.ready=error;exit.written=sleep:200ms"
//
// A package that has failpoints declares their names as constants in one block
// of a file failpoints.go, each starting with "Failpoint", so that a test can
// list them. Without the variable Hit costs one comparison.
package failpoint

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Env is the variable that arms failpoints.
const Env = "PROA_FAILPOINT"

// ErrInjected is what an "error" action returns, wrapped with the name.
var ErrInjected = errors.New("injected failure")

type actionKind int

const (
	actKill actionKind = iota
	actError
	actSleep
)

type action struct {
	kind  actionKind
	text  string        // of error:TEXT
	delay time.Duration // of sleep:D
}

// armed is read once: a process's failpoints never change while it runs.
var armed = sync.OnceValues(func() (map[string]action, error) {
	return parse(os.Getenv(Env))
})

// Hit is called right after the step that name stands for. It does not return
// from "kill", which ends the process as SIGKILL would: nothing deferred runs,
// no buffer is flushed. "error[:TEXT]" makes it return an error that wraps
// ErrInjected, "sleep:DURATION" (Go's syntax) delays it. A malformed variable
// is an error at every Hit, so that a test with a typing mistake cannot pass.
func Hit(name string) error {
	points, err := armed()
	if points == nil && err == nil {
		return nil
	}
	if err != nil {
		return err
	}
	a, ok := points[name]
	if !ok {
		return nil
	}
	return a.run(name)
}

func (a action) run(name string) error {
	switch a.kind {
	case actKill:
		die()
	case actSleep:
		time.Sleep(a.delay)
	case actError:
		if a.text != "" {
			return fmt.Errorf("failpoint %s: %w: %s", name, ErrInjected, a.text)
		}
		return fmt.Errorf("failpoint %s: %w", name, ErrInjected)
	}
	return nil
}

// die ends the process at once. The kernel drops even a SIGKILL that pid 1 of
// a pid namespace, which a monitor is, sends to itself; leaving by exit_group
// takes the namespace down in the same way.
func die() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 137, 0, 0)
	}
}

func parse(s string) (map[string]action, error) {
	var points map[string]action
	for _, item := range strings.Split(s, ";") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, what, ok := strings.Cut(item, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s: %q is not of the form NAME=ACTION", Env, item)
		}
		a, err := parseAction(what)
		if err != nil {
			return nil, fmt.Errorf("%s: failpoint %q: %w", Env, name, err)
		}
		if points == nil {
			points = make(map[string]action)
		}
		points[name] = a
	}
	return points, nil
}

func parseAction(s string) (action, error) {
	verb, arg, _ := strings.Cut(s, ":")
	switch verb {
	case "kill":
		if arg != "" {
			return action{}, fmt.Errorf("kill takes no argument")
		}
		return action{kind: actKill}, nil
	case "error":
		return action{kind: actError, text: arg}, nil
	case "sleep":
		d, err := time.ParseDuration(arg)
		if err != nil || d < 0 {
			return action{}, fmt.Errorf("cannot read duration %q", arg)
		}
		return action{kind: actSleep, delay: d}, nil
	}
	return action{}, fmt.Errorf("action %q is none of kill, error[:TEXT], sleep:DURATION", s)
}
