// SPDX-License-Identifier: Apache-2.0

package userns

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/dirs"
	"github.com/proa-containers/proa/pkg/errs"
)

// Reexec runs this program again, with argv as its arguments (argv[0] is the
// first one, not the program), inside the user namespace and a mount namespace
// of its own, on the same standard streams. It returns the exit status, 128
// and the number of the signal where one ended it. Signals sent to this
// process are handed on; the copy dies with it.
//
// In the copy Inside is true, containers/storage knows that it runs for an
// unprivileged user, and PROA_DATA_DIR and PROA_RUN_DIR name this user's
// directories, which uid 0 would else look for elsewhere.
func Reexec(ctx context.Context, n *Namespace, argv []string, extraEnv ...string) (exit int, err error) {
	env, err := InsideEnv(os.Environ())
	if err != nil {
		return 0, err
	}
	cmd := exec.Command("/proc/self/exe", argv...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(env, extraEnv...)
	if zero := zeroLimits(); len(zero) > 0 {
		cmd.Env = append(cmd.Env, envZero+"="+strings.Join(zero, " "))
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	named := NamedFiles(nil, argv...)
	cmd.ExtraFiles = named
	defer CloseFiles(named)

	signals := make(chan os.Signal, 16)
	notify(signals)
	defer signal.Stop(signals)
	child, err := n.Start(cmd, Options{NewMount: true, Death: syscall.SIGKILL})
	if err != nil {
		return 0, err
	}
	if _, err := child.Ready(ctx); err != nil {
		return 0, err
	}
	return wait(ctx, cmd, signals)
}

// descriptor finds what the shell writes for <(...), and what programs write for a file that
// they hand on open.
var descriptor = regexp.MustCompile(`/(?:dev|proc/self)/fd/([0-9]{1,3})\b`)

// NamedFiles are the open files that texts name by number, for exec.Cmd.ExtraFiles: a copy of
// this program has them under the same numbers, and no other ones. own are the files that it gets
// first; the caller closes the others. Those that are missing in between are nil.
func NamedFiles(own []*os.File, texts ...string) []*os.File {
	files := slices.Clone(own)
	for _, text := range texts {
		for _, m := range descriptor.FindAllStringSubmatch(text, -1) {
			n, _ := strconv.Atoi(m[1])
			i := n - 3 // where ExtraFiles begins
			if i < len(own) || i < len(files) && files[i] != nil {
				continue
			}
			fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				continue // whoever opens it says so
			}
			for i >= len(files) {
				files = append(files, nil)
			}
			files[i] = os.NewFile(uintptr(fd), m[0])
		}
	}
	return files
}

// CloseFiles closes the files of NamedFiles.
func CloseFiles(files []*os.File) {
	for _, f := range files {
		f.Close() // of nil it does nothing
	}
}

// cancelGrace is how long a context may end before the signal that ended it is
// seen here.
const cancelGrace = 100 * time.Millisecond

func wait(ctx context.Context, cmd *exec.Cmd, signals <-chan os.Signal) (int, error) {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	canceled := ctx.Done()
	var late <-chan time.Time
	passed := false
	for {
		select {
		case s := <-signals:
			passed = true
			if !fromTerminal(s) {
				_ = cmd.Process.Signal(s)
			}
		case <-canceled:
			// Mostly the same signal, seen by the context: the copy must not
			// get a second one on top of the one that is handed on.
			canceled, late = nil, time.After(cancelGrace)
		case <-late:
			if !passed {
				_ = cmd.Process.Signal(syscall.SIGTERM)
			}
		case err := <-done:
			return exitStatus(err)
		}
	}
}

func exitStatus(err error) (int, error) {
	var ee *exec.ExitError
	if err == nil {
		return 0, nil
	}
	if !errors.As(err, &ee) {
		return 0, errs.Wrap(err, "wait for the command in the user namespace", "")
	}
	ws := ee.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return ws.ExitStatus(), nil
}

func notify(c chan<- os.Signal) {
	for _, s := range []os.Signal{
		syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT,
	} {
		if !signal.Ignored(s) { // nohup stays nohup
			signal.Notify(c, s)
		}
	}
}

// fromTerminal guesses whether s came from the keyboard (or the terminal's
// size): then the copy, in the same foreground group, has got it already, and
// a second interrupt would mean "at once".
func fromTerminal(s os.Signal) bool {
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH:
	default:
		return false
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// InsideEnv is env with what a copy of this program inside the namespace needs
// to know (see Reexec). As real root it is env.
func InsideEnv(env []string) ([]string, error) {
	if privilegedHere() {
		return env, nil
	}
	d, _, err := dirs.Default()
	if err != nil {
		return nil, err
	}
	set := []string{
		envConfigured + "=done",
		envUID + "=" + strconv.Itoa(os.Getuid()),
		envGID + "=" + strconv.Itoa(os.Getgid()),
		"PROA_DATA_DIR=" + d.Data,
		"PROA_RUN_DIR=" + d.Run,
	}
	return append(CleanEnv(env, "PROA_DATA_DIR", "PROA_RUN_DIR"), set...), nil
}

// CleanEnv is env without the variables that this package sets for a process
// inside, and without more. Nothing that belongs to a container may get them.
func CleanEnv(env []string, more ...string) []string {
	out := make([]string, 0, len(env)+8)
	for _, kv := range env {
		key, _, _ := strings.Cut(kv, "=")
		switch key {
		case envEnter, envConfigured, envUID, envGID, envZero:
			continue
		}
		drop := false
		for _, m := range more {
			drop = drop || key == m
		}
		if !drop {
			out = append(out, kv)
		}
	}
	return out
}
