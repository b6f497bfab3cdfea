// SPDX-License-Identifier: Apache-2.0

package userns

/*
#include "enter.h"
*/
import "C"

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
)

const envEnter = "_PROA_ENTER"

// Options say what else than the user namespace a process gets.
type Options struct {
	// NewMount gives it a mount namespace in which the host's later mounts
	// appear and from which none of its own come out.
	NewMount bool
	// NewPID makes it process 1 of a pid namespace, with a fresh /proc, in a
	// session of its own, at "/", with default signal actions. Implies
	// NewMount. When it dies the kernel kills everything in the namespace.
	NewPID bool
	// Death is the signal it gets when the thread that started it dies; 0:
	// none. Not with NewPID. Such a process is a part of its parent, which
	// nobody needs to find: once it is inside, the Namespace gives up its lock,
	// so that a long build keeps no first container waiting.
	Death syscall.Signal
}

// Child is a process on its way into the namespace.
type Child struct {
	cmd  *exec.Cmd
	done chan struct{}
	pid  int
	err  error
}

// Start starts cmd, whose program must link this package, inside the
// namespace; the first Start makes the namespace where there is none yet. It
// returns as soon as the program was executed: Ready tells the rest.
//
// The process inherits the standard streams and cmd.ExtraFiles, all
// close-on-exec and nothing else. With NewPID, cmd.Process is a short-lived
// process that Start itself waits for: the caller must not call cmd.Wait, and
// cmd's streams must be files or nil. Without it the caller waits, unless Ready
// returned an error.
func (n *Namespace) Start(cmd *exec.Cmd, o Options) (*Child, error) {
	o.NewMount = o.NewMount || o.NewPID
	n.mu.Lock()
	making := n.ns == nil && !n.none
	c, sock, err := n.launch(cmd, o, making)
	if err != nil || !making {
		n.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(c.done)
		c.pid, c.err = handshake(cmd.Process.Pid, o.NewPID, sock)
		sock.Close()
		if making {
			if c.err == nil {
				c.err = n.publish(c.pid)
			}
			n.mu.Unlock()
		}
		if o.Death != 0 && c.err == nil {
			n.unlock()
		}
		if o.NewPID || c.err != nil {
			// The first process is gone or about to be; what it exited with
			// says nothing.
			_ = cmd.Wait()
		}
	}()
	return c, nil
}

// Ready waits until the process is inside, about to run its main, and returns
// its pid. An error says what the host refused and how to allow it.
func (c *Child) Ready(ctx context.Context) (pid int, err error) {
	select {
	case <-c.done:
		return c.pid, c.err
	case <-ctx.Done():
		_ = c.cmd.Process.Kill()
		return 0, errs.Wrap(ctx.Err(), "enter the user namespace", "")
	}
}

func (n *Namespace) launch(cmd *exec.Cmd, o Options, making bool) (*Child, *os.File, error) {
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, nil, errs.Wrap(err, "make a socket pair", "")
	}
	defer theirs.Close()
	kept, env := cmd.ExtraFiles, cmd.Env
	cmd.ExtraFiles = append(kept[:len(kept):len(kept)], theirs)
	if env == nil {
		env = os.Environ()
	}
	ns := -1
	if n.lock == nil && !n.none {
		ours.Close()
		return nil, nil, errs.New(errs.Internal, "the namespace is closed")
	}
	if n.ns != nil {
		ns = 3 + len(cmd.ExtraFiles)
		cmd.ExtraFiles = append(cmd.ExtraFiles, n.ns)
	}
	conf := n.configText(o, making, 3+len(kept), ns, 3+len(cmd.ExtraFiles))
	cmd.Env = append(env[:len(env):len(env)], envEnter+"="+conf)
	err = cmd.Start()
	cmd.ExtraFiles, cmd.Env = kept, env
	if err != nil {
		ours.Close()
		return nil, nil, errs.Wrap(err, "start", cmd.Path)
	}
	return &Child{cmd: cmd, done: make(chan struct{})}, ours, nil
}

// configText is what parse in enter.c reads.
func (n *Namespace) configText(o Options, making bool, report, ns, keep int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "r%d\nk%d\n", report, keep)
	if ns >= 0 {
		fmt.Fprintf(&b, "n%d\n", ns)
	}
	if o.NewMount {
		b.WriteString("m\n")
	}
	if o.NewPID {
		b.WriteString("p\n")
	} else if o.Death != 0 {
		fmt.Fprintf(&b, "d%d\nP%d\n", o.Death, os.Getpid())
	}
	if !making {
		return b.String()
	}
	b.WriteString("c\n")
	if m := n.mapping; m.Single {
		fmt.Fprintf(&b, "U%s\nG%s\n", mapWords(m.UIDs, " "), mapWords(m.GIDs, " "))
	} else {
		fmt.Fprintf(&b, "u%s\t%s\ng%s\t%s\n", m.newuidmap, mapWords(m.UIDs, "\t"), m.newgidmap, mapWords(m.GIDs, "\t"))
	}
	return b.String()
}

func mapWords(maps []spec.IDMap, sep string) string {
	words := make([]string, 0, 3*len(maps))
	for _, m := range maps {
		words = append(words, fmt.Sprint(m.Inside), fmt.Sprint(m.Outside), fmt.Sprint(m.Count))
	}
	return strings.Join(words, sep)
}

func socketpair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	// Only our end: the other one is the helpers' standard error.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "userns"), os.NewFile(uintptr(fds[1]), "userns"), nil
}

// handshake listens until the process is inside or has failed.
func handshake(first int, newPID bool, sock *os.File) (pid int, err error) {
	var text strings.Builder
	buf := make([]byte, 4096)
	ready := false
	if !newPID {
		pid = first
	}
	for !ready || pid == 0 {
		k, err := sock.Read(buf)
		if errors.Is(err, io.EOF) || (err == nil && k == 0) {
			return 0, errs.New(errs.Internal, "cannot enter the user namespace: the process died on the way")
		}
		if err != nil {
			return 0, errs.Wrap(err, "enter the user namespace", "")
		}
		message, value, code := decode(buf[:k])
		switch message {
		case C.PROA_PID:
			pid = value
		case C.PROA_READY:
			ready = true
		case C.PROA_FAILED:
			collect(sock, &text)
			return 0, explain(failure{step: value, code: code, text: strings.TrimSpace(text.String())}, hostFacts())
		default:
			text.Write(buf[:k])
		}
	}
	return pid, nil
}

// collect reads what the helpers said beside the failure.
func collect(sock *os.File, text *strings.Builder) {
	_ = sock.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 4096)
	for {
		k, err := sock.Read(buf)
		if err != nil || k == 0 {
			return
		}
		if message, _, _ := decode(buf[:k]); message == 0 {
			text.Write(buf[:k])
		}
	}
}

func decode(b []byte) (message, value, code int) {
	if len(b) != 16 || binary.NativeEndian.Uint32(b) != C.PROA_MAGIC {
		return 0, 0, 0
	}
	word := func(i int) int { return int(int32(binary.NativeEndian.Uint32(b[4*i:]))) }
	return word(1), word(2), word(3)
}

func (n *Namespace) unlock() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lock != nil {
		_ = unix.Flock(int(n.lock.Fd()), unix.LOCK_UN)
	}
}

// publish lets others find the namespace that pid is the first process of, and
// joins it for further Starts. The caller holds n.mu.
func (n *Namespace) publish(pid int) error {
	start, err := rundir.StartTime(pid)
	if err != nil {
		return errs.Wrap(err, "find the process just started", "")
	}
	h := rundir.Process{PID: pid, Start: start}
	mapping := n.mapping
	ns, _, err := openHolder(h)
	if err != nil {
		return errs.Wrap(err, "open the user namespace of the process just started", "")
	}
	n.ns, n.mapping = ns, mapping
	if err := writePointer(n.runDir, h); err != nil {
		return errs.Wrap(err, "write", pointerName)
	}
	return errs.Wrap(filelock.Flock(n.lock, unix.LOCK_SH), "lock", n.lock.Name())
}
