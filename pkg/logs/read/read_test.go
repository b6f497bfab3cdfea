// SPDX-License-Identifier: Apache-2.0

package read

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/logs"
)

var both = Options{Tail: -1, Stdout: true, Stderr: true}

// TestConformance is what every driver that keeps a log must do.
func TestConformance(t *testing.T) {
	for _, driver := range []string{logs.JSONFile, logs.K8sFile} {
		t.Run(driver, func(t *testing.T) {
			for name, test := range map[string]func(*testing.T, string){
				"RoundTrip": roundTrip, "Tail": tailLines, "Since": since, "Streams": streams, "Follow": follow,
				"FollowRotation": followRotation, "Torn": torn, "Missing": missing, "Stop": stop, "Compressed": compressed,
			} {
				t.Run(name, func(t *testing.T) { test(t, driver) })
			}
		})
	}
}

func open(t *testing.T, c logs.Config) logs.Writer {
	t.Helper()
	c.MaxFiles = max(1, c.MaxFiles)
	w, err := logs.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func put(t *testing.T, w logs.Writer, s logs.Stream, text string) {
	t.Helper()
	if err := w.Write(s, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, src Source, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := Read(t.Context(), src, o, (&Printer{Out: &b, Err: &b}).Emit); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func logPath(t *testing.T) string { return filepath.Join(t.TempDir(), "ctr.log") }

func roundTrip(t *testing.T, driver string) {
	path := logPath(t)
	w := open(t, logs.Config{Driver: driver, Path: path, Attrs: map[string]string{"tag": "\"time\":"}})
	rnd := rand.New(rand.NewSource(1))
	var want bytes.Buffer
	for want.Len() < 1<<20 {
		n := rnd.Intn(60)
		if rnd.Intn(200) == 0 {
			n = rnd.Intn(50_000)
		}
		for range n {
			want.WriteRune([]rune("abc \"\\\t\x00<é世\u2028\U0001f600\r")[rnd.Intn(14)])
		}
		want.WriteByte('\n')
	}
	for p := want.Bytes(); len(p) > 0; {
		n := min(1+rnd.Intn(40_000), len(p))
		put(t, w, logs.Stdout, string(p[:n]))
		p = p[n:]
	}
	if got := get(t, Source{Driver: driver, Path: path}, both); got != want.String() {
		t.Errorf("%d bytes written, %d read, and they differ", want.Len(), len(got))
	}
}

func number(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func tailLines(t *testing.T, driver string) {
	path := logPath(t)
	w := open(t, logs.Config{Driver: driver, Path: path, MaxSize: 4000, MaxFiles: 100})
	long := strings.Repeat("x", 40_000) + "\n"
	for i := range 500 {
		put(t, w, logs.Stdout, number(i, i+1))
	}
	src := Source{Driver: driver, Path: path}
	for _, n := range []int{0, 1, 2, 10, 49, 50, 51, 333, 499, 500, 501, 10_000} {
		o := both
		o.Tail = n
		if got, want := get(t, src, o), number(max(0, 500-n), 500); got != want {
			t.Errorf("tail %d: got %d bytes, want %d", n, len(got), len(want))
		}
	}
	put(t, w, logs.Stdout, long)
	put(t, w, logs.Stderr, "e\n")
	o := both
	o.Tail = 2
	if got := get(t, src, o); got != long+"e\n" {
		t.Errorf("a long line is one line: got %d bytes", len(got))
	}
	o.Stderr = false
	if got := get(t, src, o); got != number(499, 500)+long {
		t.Errorf("tail counts what is asked for: got %d bytes", len(got))
	}
}

func since(t *testing.T, driver string) {
	path := logPath(t)
	w := open(t, logs.Config{Driver: driver, Path: path})
	put(t, w, logs.Stdout, "one\n")
	time.Sleep(5 * time.Millisecond)
	mark := time.Now()
	put(t, w, logs.Stdout, "two\n")
	src, o := Source{Driver: driver, Path: path}, both
	o.Since = mark
	if got := get(t, src, o); got != "two\n" {
		t.Errorf("since: %q", got)
	}
	o = both
	o.Until = mark
	if got := get(t, src, o); got != "one\n" {
		t.Errorf("until: %q", got)
	}
	o.Tail = 1
	if got := get(t, src, o); got != "one\n" {
		t.Errorf("the last line until: %q", got)
	}
	o.Tail, o.Since = -1, mark
	if got := get(t, src, o); got != "" {
		t.Errorf("nothing: %q", got)
	}
	o = both
	o.Follow, o.Until = true, time.Now().Add(50*time.Millisecond)
	src.Alive = func() bool { return true }
	if got := get(t, src, o); got != "one\ntwo\n" {
		t.Errorf("follow until: %q", got)
	}
}

func streams(t *testing.T, driver string) {
	path := logPath(t)
	w := open(t, logs.Config{Driver: driver, Path: path})
	put(t, w, logs.Stdout, "out\n")
	put(t, w, logs.Stderr, "err\n")
	var out, err bytes.Buffer
	if e := Read(t.Context(), Source{Driver: driver, Path: path}, both, (&Printer{Out: &out, Err: &err, Timestamps: true}).Emit); e != nil {
		t.Fatal(e)
	}
	stamp, rest, _ := strings.Cut(out.String(), " ")
	if _, e := time.Parse(logs.K8sTime, stamp); e != nil || rest != "out\n" || !strings.HasSuffix(err.String(), "err\n") {
		t.Errorf("out %q, err %q", out.String(), err.String())
	}
}

func follow(t *testing.T, driver string) {
	path := logPath(t)
	var alive atomic.Bool
	alive.Store(true)
	var got bytes.Buffer
	done := make(chan error)
	o := both
	o.Follow = true
	go func() {
		done <- Read(t.Context(), Source{Driver: driver, Path: path, Alive: alive.Load}, o, (&Printer{Out: &got, Err: &got}).Emit)
	}()
	time.Sleep(20 * time.Millisecond) // the log does not exist yet
	w := open(t, logs.Config{Driver: driver, Path: path})
	for i := range 100 {
		put(t, w, logs.Stdout, number(i, i+1))
		if i%20 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	put(t, w, logs.Stdout, "no line feed")
	_ = w.Close()
	alive.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if want := number(0, 100) + "no line feed\n"; got.String() != want {
		t.Errorf("got %d bytes, want %d", got.Len(), len(want))
	}
}

// followRotation follows a log that turns over quickly, with few files kept:
// nothing may be lost, doubled or out of order as long as the reader keeps up.
func followRotation(t *testing.T, driver string) {
	for _, zip := range []bool{false, true} {
		path := logPath(t)
		var alive atomic.Bool
		alive.Store(true)
		w := open(t, logs.Config{Driver: driver, Path: path, MaxSize: 20_000, MaxFiles: 5, Compress: zip})
		var got bytes.Buffer
		var mu sync.Mutex
		done := make(chan error)
		o := both
		o.Follow = true
		p := Printer{Out: &got, Err: &got}
		go func() {
			done <- Read(t.Context(), Source{Driver: driver, Path: path, Alive: alive.Load}, o, func(r *logs.Record) error {
				mu.Lock()
				defer mu.Unlock()
				return p.Emit(r)
			})
		}()
		read := func() int { mu.Lock(); defer mu.Unlock(); return got.Len() }
		written := 0
		for i := range 10_000 {
			s := number(i, i+1)
			put(t, w, logs.Stdout, s)
			written += len(s)
			for written-read() > 10_000 {
				time.Sleep(50 * time.Microsecond)
			}
		}
		_ = w.Close()
		alive.Store(false)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if want := number(0, 10_000); got.String() != want {
			t.Errorf("compress %v: got %d bytes, want %d", zip, got.Len(), len(want))
		}
	}
}

// torn ends the log at every byte, as kill -9 and power loss may.
func torn(t *testing.T, driver string) {
	path := logPath(t)
	w := open(t, logs.Config{Driver: driver, Path: path})
	put(t, w, logs.Stdout, "one\ntwo \"2\"\n")
	_ = w.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(whole, '\n') + 1
	for n := first; n <= len(whole); n++ {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		w := open(t, logs.Config{Driver: driver, Path: path})
		put(t, w, logs.Stdout, "three\n")
		_ = w.Close()
		got := get(t, Source{Driver: driver, Path: path}, both)
		if !strings.HasPrefix(got, "one\n") || !strings.HasSuffix(got, "three\n") || strings.Count(got, "\n") > 3 {
			t.Errorf("cut at %d: %q", n, got)
		}
		o := both
		o.Tail = 1
		if got := get(t, Source{Driver: driver, Path: path}, o); got != "three\n" {
			t.Errorf("cut at %d: tail %q", n, got)
		}
	}
}

func missing(t *testing.T, driver string) {
	for _, tail := range []int{-1, 0, 5} {
		o := both
		o.Tail = tail
		if got := get(t, Source{Driver: driver, Path: logPath(t)}, o); got != "" {
			t.Errorf("got %q", got)
		}
	}
}

func stop(t *testing.T, driver string) {
	path := logPath(t)
	w := open(t, logs.Config{Driver: driver, Path: path})
	put(t, w, logs.Stdout, "one\ntwo\n")
	enough := errors.New("enough")
	n := 0
	err := Read(t.Context(), Source{Driver: driver, Path: path}, both, func(*logs.Record) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("%d records, %v", n, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	o := both
	o.Follow = true
	err = Read(ctx, Source{Driver: driver, Path: path, Alive: func() bool { return true }}, o, func(*logs.Record) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("canceled follow: %v", err)
	}
}

func compressed(t *testing.T, driver string) {
	path := logPath(t)
	w := open(t, logs.Config{Driver: driver, Path: path, MaxSize: 3000, MaxFiles: 50, Compress: true})
	for i := range 300 {
		put(t, w, logs.Stdout, number(i, i+1))
	}
	_ = w.Close()
	if zs, _ := filepath.Glob(path + ".*.gz"); len(zs) < 3 {
		t.Fatalf("compressed files: %v", zs)
	}
	src, o := Source{Driver: driver, Path: path}, both
	if got := get(t, src, o); got != number(0, 300) {
		t.Errorf("got %d bytes", len(got))
	}
	o.Tail = 222
	if got := get(t, src, o); got != number(78, 300) {
		t.Errorf("tail: got %d bytes", len(got))
	}
}

func TestNone(t *testing.T) {
	w := open(t, logs.Config{Driver: logs.None})
	put(t, w, logs.Stdout, "x\n")
	err := Read(t.Context(), Source{Driver: logs.None}, both, nil)
	if err == nil || err.Error() != "configured logging driver does not support reading" || !errs.Is(err, errs.Unsupported) {
		t.Error(err)
	}
}

// TestDocker reads what Docker wrote, in other orders too.
func TestDocker(t *testing.T) {
	path := logPath(t)
	text := `{"log":"\u0009a\u003cb\n","stream":"stdout","attrs":{"tag":"x"},"time":"2024-05-31T12:00:00.123456789Z"}
{"stream":"stderr","time":"2024-05-31T14:00:00.5+02:00","log":"\ud83d\ude00 b\n"}
{"log":"p","stream":"stdout","time":"2024-05-31T12:00:01Z"}

{"log":"q\n","stream":"stdout","time":"2024-05-31T12:00:01Z"}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := get(t, Source{Path: path}, both); got != "\ta<b\n😀 b\npq\n" {
		t.Errorf("%q", got)
	}
}

// FuzzRead reads arbitrary bytes as a log: no panic, no endless loop, and the
// tail of everything is everything.
func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2024-05-31T12:00:01Z\"}\n{\"log\":\"b"), 1)
	f.Add([]byte("2024-05-31T12:00:00.1Z stdout P a\n2024-05-31T12:00:00.1Z stderr F b\n\n"), 2)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		path := filepath.Join(dir, "log")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, driver := range []string{logs.JSONFile, logs.K8sFile} {
			src, o := Source{Driver: driver, Path: path}, both
			all := get(t, src, o)
			o.Tail = 1 << 30
			if got := get(t, src, o); got != all {
				t.Errorf("tail of all: %q, all: %q", got, all)
			}
			o.Tail = n & 7
			if got := get(t, src, o); !strings.HasSuffix(all, got) {
				t.Errorf("tail %d: %q, all: %q", o.Tail, got, all)
			}
		}
	})
}

func BenchmarkReadJSON(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	w, err := logs.Open(logs.Config{Driver: logs.JSONFile, Path: path, MaxFiles: 1})
	if err != nil {
		b.Fatal(err)
	}
	_ = w.Write(logs.Stdout, bytes.Repeat([]byte("GET /index.html HTTP/1.1 200 \"curl/8\" and so on\n"), 100_000))
	_ = w.Close()
	st, _ := os.Stat(path)
	for _, tail := range []int{-1, 10} {
		b.Run(fmt.Sprint("tail", tail), func(b *testing.B) {
			b.SetBytes(st.Size())
			o := both
			o.Tail = tail
			for b.Loop() {
				if err := Read(b.Context(), Source{Path: path}, o, func(*logs.Record) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
