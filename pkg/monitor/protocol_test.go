// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// pair is two connected ends.
func pair(t testing.TB) (*Conn, *Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewConnFD(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewConnFD(fds[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestFrames(t *testing.T) {
	a, b := pair(t)
	big := bytes.Repeat([]byte("x"), MaxStream)
	go func() {
		_ = a.Write(FrameStdout, []byte("hello"))
		_ = a.Write(FrameStderr, big)
		_ = a.Write(FrameCloseStdin, nil)
		_ = a.Write(FrameResize, []byte{0, 24, 0, 80})
		a.Close()
	}()
	for _, want := range []Frame{
		{Type: FrameStdout, Payload: []byte("hello")}, {Type: FrameStderr, Payload: big},
		{Type: FrameCloseStdin}, {Type: FrameResize, Payload: []byte{0, 24, 0, 80}},
	} {
		got, err := b.Read(nil)
		if err != nil || got.Type != want.Type || !bytes.Equal(got.Payload, want.Payload) {
			t.Fatalf("got %q %d bytes: %v", got.Type, len(got.Payload), err)
		}
	}
	if _, err := b.Read(nil); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if r, c := ParseResize([]byte{0, 24, 0, 80}); r != 24 || c != 80 {
		t.Errorf("resize %d %d", r, c)
	}
	if s := ParseSignal(SignalPayload(15)); s != 15 {
		t.Errorf("signal %d", s)
	}
}

func TestDescriptors(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := a.WriteJSON(FrameRequest, Request{Op: OpExec}, w, w, w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	req, fds, err := b.ReadRequest()
	if err != nil || req.Op != OpExec || len(fds) != 3 {
		t.Fatalf("%+v, %d descriptors: %v", req, len(fds), err)
	}
	for _, f := range fds {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor flags %x: %v", flags, err)
		}
		f.Close()
	}
	if data, err := io.ReadAll(r); err != nil || len(data) != 0 {
		t.Errorf("a descriptor stayed open: %q %v", data, err)
	}
}

// TestUnexpectedDescriptors: a peer must not fill our descriptor table.
func TestUnexpectedDescriptors(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_ = a.Write(FrameStdin, []byte("x"), w)
	w.Close()
	if _, err := b.Read(nil); !errors.Is(err, ErrFrame) {
		t.Errorf("%v", err)
	}
	if data, err := io.ReadAll(r); err != nil || len(data) != 0 {
		t.Errorf("a descriptor stayed open: %q %v", data, err)
	}
}

func TestMalformedFrames(t *testing.T) {
	for name, text := range map[string]string{
		"unknown type":    "?\x00\x00\x00\x00\x00\x00\x00",
		"padding":         "Q\x00\x01\x00\x00\x00\x00\x02{}",
		"too long":        "\x01\x00\x00\x00\xff\xff\xff\xff",
		"stream too long": "\x01\x00\x00\x00\x00\x01\x00\x01",
		"short resize":    "W\x00\x00\x00\x00\x00\x00\x02\x00\x00",
		"payload missing": "Q\x00\x00\x00\x00\x00\x00\x05{}",
		"header cut":      "Q\x00\x00",
	} {
		a, b := pair(t)
		if _, err := unix.Write(int(a.f.Fd()), []byte(text)); err != nil {
			t.Fatal(err)
		}
		a.Close()
		if fr, err := b.Read(nil); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %+v, %v", name, fr, err)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte("Q\x00\x00\x00\x00\x00\x00\x02"))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\xff\xff"))
	f.Add([]byte("W\x00\x00\x00\x00\x00\x00\x04"))
	f.Fuzz(func(t *testing.T, h []byte) {
		if len(h) < headerSize {
			return
		}
		typ, n, err := parseHeader(h)
		if err != nil {
			return
		}
		if limit, ok := typ.limit(); !ok || n > limit || n < 0 {
			t.Errorf("%q with %d bytes was taken", typ, n)
		}
	})
}

// FuzzConn feeds foreign bytes to the whole decoder, requests included.
func FuzzConn(f *testing.F) {
	f.Add([]byte("Q\x00\x00\x00\x00\x00\x00\x0f{\"op\":\"status\"}"))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x01xC\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 32<<10 {
			return
		}
		a, b := pair(t)
		if _, err := unix.Write(int(a.f.Fd()), data); err != nil && len(data) > 0 {
			t.Fatal(err)
		}
		a.Close()
		if _, fds, err := b.ReadRequest(); err == nil {
			CloseFiles(fds)
		}
		total := 0
		for {
			fr, err := b.Read(nil)
			if err != nil {
				break
			}
			total += headerSize + len(fr.Payload)
			fr.CloseFDs()
		}
		if total > len(data) {
			t.Errorf("%d bytes came out of %d", total, len(data))
		}
		a.Close()
		b.Close()
	})
}
