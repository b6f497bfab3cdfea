// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
)

// The launch, seen from both sides:
//
//	front end                                proa-monitor
//	  Lock(RunDir, DataDir)                    .
//	  Launch: fork, exec ------------------->  (C constructor: namespaces)
//	     [lock, datalock, config, answer, ...] Go program starts,
//	  ... its own database work ...            opens RunDir/sock
//	  Send(Config) -- one JSON value, EOF -->  mounts, network, create
//	  Attach(...)  -- request on "attach" -->  subscribed before the start
//	  Ready <- {"status":..} or {"error":..} - process started (or not)
//	  Close                                    lives on, or is gone
//
// Descriptors travel by inheritance; EnvFDs in the environment names their
// numbers ("lock=3,config=4,..."). Until it has answered, the monitor gives up
// when the reader of the answer pipe has gone: a front end that dies in the
// middle leaves nothing behind.

// LaunchOptions say how to start a monitor.
type LaunchOptions struct {
	// RunDir is the runtime directory that Lock was taken in.
	RunDir string
	// Hold is what Lock returned; the monitor inherits it. Launch does not close
	// it: the caller does, after Launch.
	Hold *rundir.Hold
	// Start starts the command inside the user's namespaces and returns at
	// once; ready waits until the monitor is there and tells its pid as the
	// caller sees it, which need not be the child's. It fits the Start and
	// Ready of rootless/userns. It may append to ExtraFiles and Env, and must
	// reap what it starts but for the monitor itself. Nil: the command is
	// started as it is.
	Start func(*exec.Cmd) (ready func(context.Context) (pid int, err error), err error)
	// Attach opens a private connection to the monitor for Handle.Attach: a
	// foreground run then cannot miss a byte and needs no socket path. The
	// process starts only when Handle.Attach was called, with or without
	// Config.WaitAttach.
	Attach bool
	// Program is the monitor's path; empty: FindProgram.
	Program string
	// Env is added to the caller's environment.
	Env []string
}

// Handle is a monitor that is being launched.
type Handle struct {
	runDir  string
	config  *os.File
	answer  *os.File
	attach  *os.File
	log     *os.File
	entered func(context.Context) (int, error)
	stop    func() bool // ends the watch on the context

	once  sync.Once
	reply monitor.LaunchReply
	err   error
}

// FindProgram finds proa-monitor: beside the running binary, in the libexec
// directory of the same installation, then in PATH.
func FindProgram() (string, error) {
	if self, err := os.Executable(); err == nil {
		dir := filepath.Dir(self)
		for _, p := range []string{
			filepath.Join(dir, monitor.Program),
			filepath.Join(dir, "..", "libexec", "proa", monitor.Program),
			filepath.Join(dir, "..", "lib", "proa", monitor.Program),
		} {
			if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
				return p, nil
			}
		}
	}
	p, err := exec.LookPath(monitor.Program)
	if err != nil {
		return "", errs.WithHint(errs.New(errs.Unsupported, "cannot find %s", monitor.Program),
			"install it beside proa: make install puts both into place")
	}
	return filepath.Abs(p)
}

// Launch starts a monitor. It returns as soon as the process exists; the
// monitor then waits for its configuration. When ctx ends before Ready has
// returned, the monitor is killed.
func Launch(ctx context.Context, o LaunchOptions) (*Handle, error) {
	program := o.Program
	if program == "" {
		var err error
		if program, err = FindProgram(); err != nil {
			return nil, err
		}
	}
	h := &Handle{runDir: o.RunDir}
	cmd, theirs, err := h.command(program, o)
	defer monitor.CloseFiles(theirs)
	if err != nil {
		h.Close()
		return nil, errs.Wrap(err, "start monitor in", o.RunDir)
	}
	start := o.Start
	if start == nil {
		start = startPlain
	}
	if h.entered, err = start(cmd); err != nil {
		h.Close()
		return nil, errs.Wrap(err, "start", program)
	}
	h.stop = context.AfterFunc(ctx, h.Kill)
	return h, nil
}

func startPlain(cmd *exec.Cmd) (func(context.Context) (int, error), error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	go func() { _ = cmd.Wait() }()
	return func(context.Context) (int, error) { return pid, nil }, nil
}

// command builds the monitor's command line and its descriptors. The returned
// files are the monitor's ends: the caller closes them after the start.
func (h *Handle) command(program string, o LaunchOptions) (*exec.Cmd, []*os.File, error) {
	var theirs []*os.File
	var names []string
	cmd := exec.Command(program, "container", o.RunDir)
	add := func(name string, f *os.File) {
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		names = append(names, name+"="+strconv.Itoa(2+len(cmd.ExtraFiles)))
	}
	add("lock", o.Hold.Run)
	if o.Hold.Data != nil {
		add("datalock", o.Hold.Data)
	}

	configR, configW, err := os.Pipe()
	if err != nil {
		return nil, theirs, err
	}
	h.config, theirs = configW, append(theirs, configR)
	add("config", configR)

	answerR, answerW, err := os.Pipe()
	if err != nil {
		return nil, theirs, err
	}
	h.answer, theirs = answerR, append(theirs, answerW)
	add("answer", answerW)

	// The monitor has a pid namespace and a /proc of its own; this one is how
	// it learns pids as the rest of the machine sees them.
	proc, err := os.OpenFile("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, theirs, err
	}
	theirs = append(theirs, proc)
	add("proc", proc)

	if o.Attach {
		ours, other, err := socketPair()
		if err != nil {
			return nil, theirs, err
		}
		h.attach, theirs = ours, append(theirs, other)
		add("attach", other)
	}
	// What the monitor says beside its answer (a crash, above all) is kept
	// where Ready, or a person, finds it.
	if h.log, err = os.OpenFile(filepath.Join(o.RunDir, rundir.LogFile),
		os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return nil, theirs, err
	}
	cmd.Stdout, cmd.Stderr = h.log, h.log
	cmd.Env = append(os.Environ(), o.Env...)
	// One processor: the monitor waits for the kernel most of the time, and each
	// further one costs 300 KB of caches in its runtime.
	cmd.Env = append(cmd.Env, "GOMAXPROCS=1", monitor.EnvFDs+"="+strings.Join(names, ","))
	cmd.Dir = "/"
	return cmd, theirs, nil
}

func socketPair() (*os.File, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "attach"), os.NewFile(uintptr(fds[1]), "attach"), nil
}

// PID waits until the monitor's process is inside its namespaces and returns
// its pid as the caller sees it.
func (h *Handle) PID(ctx context.Context) (int, error) { return h.entered(ctx) }

// Send gives the monitor its configuration. It is called once.
func (h *Handle) Send(c *monitor.Config) error {
	if h.config == nil {
		return errs.New(errs.Internal, "configuration sent twice")
	}
	err := json.NewEncoder(h.config).Encode(c)
	if cerr := h.config.Close(); err == nil {
		err = cerr
	}
	h.config = nil
	if errors.Is(err, syscall.EPIPE) {
		// It died before it could read: its answer, if any, tells why.
		if _, rerr := h.Ready(context.Background()); rerr != nil {
			return rerr
		}
	}
	return errs.Wrap(err, "configure monitor of", c.Name)
}

// Attach subscribes to the process's streams over the private connection that
// LaunchOptions.Attach asked for. Called before Ready it cannot miss a byte.
func (h *Handle) Attach(r monitor.AttachRequest) (*Attachment, error) {
	if h.attach == nil {
		return nil, errs.New(errs.Internal, "attach without a connection")
	}
	c, err := newClient(h.attach)
	h.attach = nil
	if err != nil {
		return nil, err
	}
	c.runDir = h.runDir
	a, err := c.Attach(r)
	if errs.Is(err, errs.State) {
		// It died before it listened; its answer, if there is one, tells why.
		if _, rerr := h.Ready(context.Background()); rerr != nil {
			return nil, rerr
		}
	}
	return a, err
}

// Ready waits until the container's process runs, or could not be started: the
// error then has the kind, sentence and hint that the monitor gave it. A
// monitor that dies without a word is an error of kind errs.Unavailable.
func (h *Handle) Ready(ctx context.Context) (monitor.Status, error) {
	stop := context.AfterFunc(ctx, h.Kill)
	defer stop()
	h.once.Do(func() { h.readAnswer(ctx) })
	if h.err != nil && ctx.Err() != nil {
		return monitor.Status{}, errs.Wrap(ctx.Err(), "start container", "")
	}
	if h.err != nil {
		return monitor.Status{}, h.err
	}
	return *h.reply.Status, nil
}

func (h *Handle) readAnswer(ctx context.Context) {
	err := json.NewDecoder(io.LimitReader(h.answer, monitor.MaxRequest)).Decode(&h.reply)
	if h.stop != nil {
		h.stop()
	}
	switch {
	case err != nil:
		// Most often the host refused a namespace.
		if _, h.err = h.entered(ctx); h.err == nil {
			h.err = h.silent()
		}
	case h.reply.Error != nil:
		h.err = h.reply.Error.Err()
	case h.reply.Status == nil:
		h.err = errs.New(errs.Internal, "the monitor's answer is empty")
	}
}

// silent is the error for a monitor that exited without reporting a result.
func (h *Handle) silent() error {
	said := make([]byte, 2048)
	n, _ := h.log.ReadAt(said, 0)
	text := "the monitor exited without reporting a result"
	if first, _, _ := strings.Cut(strings.TrimSpace(string(said[:n])), "\n"); first != "" {
		text += ": " + first
	}
	return errs.WithHint(&errs.Error{Op: "start container", Kind: errs.Unavailable, Err: errors.New(text)},
		"look for a killed process in the kernel's log: dmesg | tail")
}

// Kill ends the monitor, and with it everything in its pid namespace.
func (h *Handle) Kill() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if pid, err := h.entered(ctx); err == nil && pid > 0 {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// Close lets go of the monitor: one that runs lives on, one that was not told
// its configuration ends by itself. It is safe to call twice.
func (h *Handle) Close() {
	if h.stop != nil {
		h.stop()
	}
	monitor.CloseFiles([]*os.File{h.config, h.answer, h.attach, h.log})
	h.config, h.attach = nil, nil
}
