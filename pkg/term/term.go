// SPDX-License-Identifier: Apache-2.0

// Package term is the client's side of a terminal: raw mode, window size, the
// keys that detach, and the signals that are passed on.
package term

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// MakeRaw puts the terminal f into raw mode: every key goes to the container.
// restore undoes it and may be called more than once, from any goroutine; the
// caller must do so before the process ends.
func MakeRaw(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("cannot set terminal to raw mode: %w", err)
	}
	raw := *old
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag &^= unix.CSIZE | unix.PARENB
	raw.Cflag |= unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("cannot set terminal to raw mode: %w", err)
	}
	return sync.OnceFunc(func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }), nil
}

// Size is the terminal's size in characters; zero where it is not known.
func Size(f *os.File) (rows, cols uint16, err error) {
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, fmt.Errorf("cannot get the terminal's size: %w", err)
	}
	return ws.Row, ws.Col, nil
}

// SetSize sets the size of the terminal f; its foreground process group gets
// SIGWINCH when it changes.
func SetSize(f *os.File, rows, cols uint16) error {
	return unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
}

// FollowSize calls fn with the size of the terminal f at once and after each
// change, until ctx ends. It returns before the first call; fn is never called
// twice at the same time.
func FollowSize(ctx context.Context, f *os.File, fn func(rows, cols uint16)) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH)
	go func() {
		defer signal.Stop(c)
		for {
			if rows, cols, err := Size(f); err == nil && rows != 0 && cols != 0 {
				fn(rows, cols)
			}
			select {
			case <-c:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// Proxied reports whether a signal sent to the client is passed on to the
// container (--sig-proxy). Left out are those about the client's own life:
// its children, its terminal, its memory, its runtime.
func Proxied(s syscall.Signal) bool {
	switch s {
	case syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGURG, syscall.SIGWINCH, syscall.SIGKILL, syscall.SIGSTOP,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL,
		syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGPROF:
		return false
	}
	return true
}

// ProxySignals calls fn for each signal that Proxied lets through, until ctx
// ends. It returns once signals are caught; from then on none of them ends the
// process. fn is never called twice at the same time.
func ProxySignals(ctx context.Context, fn func(syscall.Signal)) {
	var want []os.Signal
	for s := syscall.Signal(1); s < 65; s++ {
		// The C library uses 32 to 34 itself, and Go leaves them to it.
		if Proxied(s) && (s < 32 || s > 34) {
			want = append(want, s)
		}
	}
	c := make(chan os.Signal, 32)
	signal.Notify(c, want...)
	go func() {
		defer signal.Stop(c)
		for {
			select {
			case s := <-c:
				fn(s.(syscall.Signal))
			case <-ctx.Done():
				return
			}
		}
	}()
}
