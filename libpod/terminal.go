// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// terminalOf is the terminal that stands behind a stream, nil where none does.
func terminalOf(streams ...any) *os.File {
	for _, s := range streams {
		if f, ok := s.(*os.File); ok && f != nil {
			if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
				return f
			}
		}
	}
	return nil
}

// rawMode makes a terminal hand over every key as it is typed. The returned
// function puts it back as it was, and may be called twice.
func rawMode(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, errs.Wrap(err, "read the terminal's settings", "")
	}
	raw := *old
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag &^= unix.CSIZE | unix.PARENB
	raw.Cflag |= unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	// A background process that changes its terminal is stopped; SIGTTOU is
	// what the shell expects of us then.
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, errs.Wrap(err, "set the terminal to raw mode", "")
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETSW, old) }, nil
}

func terminalSize(f *os.File) (rows, cols uint16) {
	if f == nil {
		return 0, 0
	}
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return ws.Row, ws.Col
}

// defaultDetachKeys is Docker's.
const defaultDetachKeys = "ctrl-p,ctrl-q"

// parseKeys reads a sequence like "ctrl-p,ctrl-q" or "a,ctrl-@".
func parseKeys(text string) ([]byte, error) {
	if text == "" {
		text = defaultDetachKeys
	}
	var keys []byte
	for _, k := range strings.Split(text, ",") {
		c, isCtrl := strings.CutPrefix(strings.ToLower(k), "ctrl-")
		switch {
		case len(k) == 1:
			keys = append(keys, k[0])
		case isCtrl && len(c) == 1 && (c[0] >= 'a' && c[0] <= 'z' || strings.Contains("@[\\]^_", c)):
			keys = append(keys, c[0]&0x1f)
		default:
			return nil, errs.WithHint(errs.New(errs.Invalid, "invalid detach keys (%s) provided", text),
				"write letters or ctrl-LETTER, separated by commas: --detach-keys=ctrl-x,x")
		}
	}
	return keys, nil
}

// errDetach is what a keyReader returns once it has seen its keys.
var errDetach = errs.New(errs.Canceled, "detached")

// keyReader passes bytes on until it has seen a sequence of keys. A beginning
// of the sequence is held back until it is clear that it is none.
type keyReader struct {
	r    io.Reader
	keys []byte
	seen int
	out  []byte // decided, not yet handed over
	err  error
}

func (k *keyReader) Read(p []byte) (int, error) {
	for len(k.out) == 0 && k.err == nil {
		buf := make([]byte, max(len(p), 1))
		n, err := k.r.Read(buf)
		for _, b := range buf[:n] {
			if k.feed(b) {
				k.err = errDetach
				break
			}
		}
		if err != nil && k.err == nil {
			k.out = append(k.out, k.keys[:k.seen]...)
			k.seen, k.err = 0, err
		}
	}
	n := copy(p, k.out)
	k.out = k.out[n:]
	if n == 0 {
		return 0, k.err
	}
	return n, nil
}

// feed takes one key and reports whether it completes the sequence.
func (k *keyReader) feed(b byte) bool {
	for {
		if b == k.keys[k.seen] {
			k.seen++
			return k.seen == len(k.keys)
		}
		if k.seen == 0 {
			k.out = append(k.out, b)
			return false
		}
		// The longest end of what was held back that begins the sequence
		// again stays held back.
		held := k.keys[:k.seen]
		n := k.seen - 1
		for n > 0 && string(held[k.seen-n:]) != string(k.keys[:n]) {
			n--
		}
		k.out = append(k.out, held[:k.seen-n]...)
		k.seen = n
	}
}
