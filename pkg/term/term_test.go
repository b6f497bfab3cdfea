// SPDX-License-Identifier: Apache-2.0

package term

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestParseKeys(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "ctrl-p,ctrl-q": "\x10\x11", "a": "a", "ctrl-@": "\x00", "ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_": "\x1b\x1c\x1d\x1e\x1f",
		"CTRL-A,b,%": "\x01b%", "ctrl-z": "\x1a",
	} {
		if got, err := ParseKeys(in); err != nil || string(got) != want {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
	for _, bad := range []string{",", "a,", "ctrl-", "ctrl-aa", "ctrl-1", "shift-a", "é", "\xff", "ctrl-,"} {
		if got, err := ParseKeys(bad); !errs.Is(err, errs.Invalid) || errs.HintOf(err) == "" {
			t.Errorf("%q: got %q, %v", bad, got, err)
		}
	}
}

func TestEscape(t *testing.T) {
	for _, c := range []struct {
		keys, in, out string
		detached      bool
	}{
		{"\x10\x11", "hello", "hello", false},
		{"\x10\x11", "he\x10llo", "he\x10llo", false},
		{"\x10\x11", "he\x10\x11rest", "he", true},
		{"\x10\x11", "\x10\x10\x11", "\x10", true},
		{"\x10\x11", "end\x10", "end\x10", false},
		{"aab", "aaab", "a", true},
		{"abac", "ababac", "ab", true},
		{"x", "x", "", true},
		{"", "a\x10\x11b", "a\x10\x11b", false},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(c.in), "bytewise": iotest.OneByteReader(strings.NewReader(c.in)),
			"eof with data": iotest.DataErrReader(strings.NewReader(c.in))} {
			out, err := io.ReadAll(NewEscape(r, []byte(c.keys)))
			if string(out) != c.out || errors.Is(err, ErrDetached) != c.detached || (err != nil) != c.detached {
				t.Errorf("%s, keys %q, in %q: got %q, %v", name, c.keys, c.in, out, err)
			}
		}
	}
}

// FuzzEscape compares with bytes.Cut, whatever the pieces.
func FuzzEscape(f *testing.F) {
	f.Add([]byte("aab"), []byte("xaaabyy"), 2)
	f.Fuzz(func(t *testing.T, keys, in []byte, size int) {
		if len(keys) == 0 || len(keys) > 8 {
			return
		}
		want, _, found := bytes.Cut(in, keys)
		e := NewEscape(bytes.NewReader(in), keys)
		var got []byte
		buf := make([]byte, 1+(size&0xff))
		var err error
		for err == nil {
			var n int
			n, err = e.Read(buf)
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, want) || errors.Is(err, ErrDetached) != found {
			t.Errorf("keys %q, in %q: got %q, %v, want %q, %v", keys, in, got, err, want, found)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add("ctrl-p,ctrl-q")
	f.Fuzz(func(t *testing.T, s string) {
		keys, err := ParseKeys(s)
		if err == nil && s != "" && len(keys) != strings.Count(s, ",")+1 && !strings.Contains(s, ",,") {
			t.Errorf("%q: %q", s, keys)
		}
	})
}

// openPTY makes a terminal of the kernel's.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	n, err := unix.IoctlGetInt(int(m.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skip(err)
	}
	if err := unix.IoctlSetPointerInt(int(m.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip(err)
	}
	s, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return m, s
}

func TestRaw(t *testing.T) {
	m, s := openPTY(t)
	if !IsTerminal(s) {
		t.Fatal("a terminal is none")
	}
	before, _ := unix.IoctlGetTermios(int(s.Fd()), unix.TCGETS)
	restore, err := MakeRaw(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Write([]byte("\x03\r\x10")); err != nil {
		t.Fatal(err)
	}
	var got [3]byte
	if _, err := io.ReadFull(s, got[:]); err != nil || string(got[:]) != "\x03\r\x10" {
		t.Errorf("raw input: %q, %v", got, err)
	}
	restore()
	restore()
	if after, _ := unix.IoctlGetTermios(int(s.Fd()), unix.TCGETS); *after != *before {
		t.Error("the mode was not restored")
	}
	r, w, _ := os.Pipe()
	defer r.Close()
	defer w.Close()
	if _, err := MakeRaw(r); err == nil || IsTerminal(r) {
		t.Error("a pipe is no terminal")
	}
}

func TestFollowSize(t *testing.T) {
	_, s := openPTY(t)
	if err := SetSize(s, 24, 80); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sizes := make(chan [2]uint16, 8)
	FollowSize(ctx, s, func(r, c uint16) { sizes <- [2]uint16{r, c} })
	if got := <-sizes; got != [2]uint16{24, 80} {
		t.Errorf("first size %v", got)
	}
	if err := SetSize(s, 50, 132); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGWINCH)
	select {
	case got := <-sizes:
		if got != [2]uint16{50, 132} {
			t.Errorf("second size %v", got)
		}
	case <-time.After(5 * time.Second):
		t.Error("no notice of the change")
	}
}

func TestProxySignals(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan syscall.Signal, 8)
	ProxySignals(ctx, func(s syscall.Signal) { got <- s })
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP, 35, 64} {
		_ = syscall.Kill(os.Getpid(), s)
		select {
		case g := <-got:
			if g != s {
				t.Errorf("got %v, want %v", g, s)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%v was not passed on", s)
		}
	}
	for _, s := range []syscall.Signal{syscall.SIGCHLD, syscall.SIGWINCH, syscall.SIGURG, syscall.SIGKILL, syscall.SIGPIPE} {
		if Proxied(s) {
			t.Errorf("%v would be passed on", s)
		}
	}
}
