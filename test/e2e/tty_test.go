// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// cmdTTY is "tty [-s STATUS] FILE COMMAND ARGS...": the command gets a terminal of 24
// rows and 80 columns, and FILE says what a person does:
//
//	expect REGEXP     wait (10 s) until what was printed since the last match fits
//	send TEXT         type it; Go escapes work: \r, \x03 (Ctrl-C), \x04 (Ctrl-D), \x10\x11 (Ctrl-P Ctrl-Q)
//	resize ROWS COLS  change the window
//	sleep DURATION
//	raw on|off        the terminal's mode right now
//	hangup            close the terminal
//
// Afterwards the command must end with STATUS (0) and leave the terminal as it
// found it. What was printed is the script's stdout.
func cmdTTY(ts *testscript.TestScript, neg bool, args []string) {
	want := "0"
	if len(args) > 2 && args[0] == "-s" {
		want, args = args[1], args[2:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: tty [-s status] file command [args...]")
	}
	term, err := startTerminal(ts, args[1:])
	ts.Check(err)
	defer term.close()
	err = term.play(ts.ReadFile(args[0]))
	if err == nil {
		err = term.wait(want)
	}
	fmt.Fprint(ts.Stdout(), strings.ReplaceAll(term.text(0), "\r", ""))
	if err != nil {
		ts.Fatalf("%v\nthe terminal shows:\n%q", err, term.text(0))
	}
}

type terminal struct {
	master, slave *os.File
	cmd           *exec.Cmd
	before        *unix.Termios
	done          chan error

	mu   sync.Mutex
	out  bytes.Buffer
	seen int // how far expect has matched
}

func startTerminal(ts *testscript.TestScript, argv []string) (*terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		master.Close()
		return nil, err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		master.Close()
		return nil, err
	}
	t := &terminal{master: master, slave: slave, done: make(chan error, 1)}
	if err := t.resize(24, 80); err != nil {
		return nil, err
	}
	if t.before, err = unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS); err != nil {
		return nil, err
	}
	t.cmd = scriptCommand(environ(ts), argv[0], argv[1:]...)
	t.cmd.Dir = ts.MkAbs(".")
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = slave, slave, slave
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	go t.read()
	go func() { t.done <- t.cmd.Wait() }()
	return t, nil
}

// environ is the script's environment for a process that the harness starts.
func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, k := range []string{"PROA_DATA_DIR", "PROA_RUN_DIR", "HOME", "USER", "XDG_RUNTIME_DIR", "PATH", "LANG", "TERM", "TZ",
		"CONTAINERS_REGISTRIES_CONF", "DOCKER_CONFIG", "PROA_FAILPOINT", "NO_COLOR"} {
		if v := ts.Getenv(k); v != "" {
			env = append(env, k+"="+v)
		}
	}
	return env
}

func (t *terminal) close() {
	t.cmd.Process.Kill()
	t.master.Close()
	t.slave.Close()
}

func (t *terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := t.master.Read(buf)
		t.mu.Lock()
		t.out.Write(buf[:n])
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (t *terminal) text(from int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.out.Bytes()[from:])
}

func (t *terminal) resize(rows, cols uint16) error {
	return unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
}

func (t *terminal) play(script string) error {
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		if err := t.step(verb, rest); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

func (t *terminal) step(verb, arg string) error {
	switch verb {
	case "expect":
		return t.expect(arg)
	case "send":
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(arg, `"`, `\"`) + `"`)
		if err != nil {
			return err
		}
		_, err = t.master.WriteString(text)
		return err
	case "resize":
		var rows, cols uint16
		if _, err := fmt.Sscan(arg, &rows, &cols); err != nil {
			return err
		}
		return t.resize(rows, cols)
	case "sleep":
		d, err := time.ParseDuration(arg)
		time.Sleep(d)
		return err
	case "raw":
		return t.expectRaw(arg == "on")
	case "hangup":
		t.slave.Close()
		return t.master.Close()
	}
	return errors.New("unknown step")
}

func (t *terminal) expect(pattern string) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if loc := re.FindStringIndex(t.text(t.seen)); loc != nil {
			t.seen += loc[1]
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("not printed within 10 s")
		}
	}
}

func (t *terminal) expectRaw(want bool) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		now, err := unix.IoctlGetTermios(int(t.slave.Fd()), unix.TCGETS)
		if err != nil {
			return err
		}
		if (now.Lflag&unix.ICANON == 0) == want {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the terminal is in the other mode")
		}
	}
}

func (t *terminal) wait(want string) error {
	var err error
	select {
	case err = <-t.done:
	case <-time.After(15 * time.Second):
		return errors.New("the command does not end")
	}
	got := t.cmd.ProcessState.ExitCode()
	if strconv.Itoa(got) != want {
		return fmt.Errorf("exit status %d, want %s (%v)", got, want, err)
	}
	after, err := unix.IoctlGetTermios(int(t.slave.Fd()), unix.TCGETS)
	if err != nil {
		return nil // hung up on purpose
	}
	if *after != *t.before {
		return errors.New("the terminal's modes are not as they were")
	}
	time.Sleep(20 * time.Millisecond) // what was printed last is still on its way
	return nil
}
