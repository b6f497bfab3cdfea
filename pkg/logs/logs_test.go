// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

var at = time.Date(2024, 5, 31, 12, 0, 0, 120_000_000, time.UTC)

func opts(kv ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		driver  string
		options map[string]string
		want    Config
		bad     string
	}{
		{want: Config{Driver: JSONFile, Path: "/p", MaxFiles: 1}},
		{driver: K8sFile, options: opts("max-size", "10m", "max-file", "3", "compress", "true", "path", "/q"),
			want: Config{Driver: K8sFile, Path: "/q", MaxSize: 10 << 20, MaxFiles: 3, Compress: true}},
		{driver: JSONFile, options: opts("max-size", "-1", "mode", "blocking", "tag", "x"), want: Config{Driver: JSONFile, Path: "/p", MaxFiles: 1}},
		{driver: None, want: Config{Driver: None, Path: "/p", MaxFiles: 1}},
		{driver: "journald", bad: `log driver "journald" is not supported`},
		{options: opts("max-size", "x"), bad: `invalid value "x" for log option "max-size"`},
		{options: opts("max-file", "0"), bad: "max-file cannot be less than 1"},
		{options: opts("compress", "true"), bad: "compress cannot be true when max-file is less than 2 or max-size is not set"},
		{options: opts("compress", "maybe"), bad: `invalid value "maybe" for log option "compress"`},
		{options: opts("mode", "non-blocking"), bad: `invalid value "non-blocking" for log option "mode"`},
		{options: opts("path", "x"), bad: `invalid value "x" for log option "path"`},
		{options: opts("size", "1"), bad: "unknown log opt 'size' for json-file log driver"},
		{driver: K8sFile, options: opts("labels", "a"), bad: "unknown log opt 'labels' for k8s-file log driver"},
	} {
		got, err := Parse(spec.Logging{Driver: c.driver, Options: c.options}, "/p", nil)
		if c.bad != "" {
			if err == nil || err.Error() != c.bad || errs.HintOf(err) == "" {
				t.Errorf("%s %v: got %v, want %s", c.driver, c.options, err, c.bad)
			}
			continue
		}
		if err != nil || got.Driver != c.want.Driver || got.Path != c.want.Path || got.MaxSize != c.want.MaxSize ||
			got.MaxFiles != c.want.MaxFiles || got.Compress != c.want.Compress {
			t.Errorf("%s %v: got %+v, %v", c.driver, c.options, got, err)
		}
	}
}

func TestEncodeJSON(t *testing.T) {
	enc := jsonEncoder(map[string]string{"tag": "a\"b", "app": "web"})
	got := string(enc(nil, &Record{Time: at, Stream: Stderr, Line: []byte("<a & b>\t\"q\\ \x00\xff\u2028é\r")}))
	want := `{"log":"\u003ca \u0026 b\u003e\u0009\"q\\ \u0000\ufffd\u2028é\r\n","stream":"stderr","attrs":{"app":"web","tag":"a\"b"},"time":"2024-05-31T12:00:00.12Z"}` + "\n"
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got := string(jsonEncoder(nil)(nil, &Record{Time: at, Stream: Stdout, Partial: true, Line: []byte("x")})); got !=
		`{"log":"x","stream":"stdout","time":"2024-05-31T12:00:00.12Z"}`+"\n" {
		t.Errorf("partial: %s", got)
	}
}

func TestEncodeK8s(t *testing.T) {
	got := string(appendK8s(nil, &Record{Time: at, Stream: Stdout, Partial: true, Line: []byte("x")}))
	got += string(appendK8s(nil, &Record{Time: at, Stream: Stderr, Line: nil}))
	if want := "2024-05-31T12:00:00.120000000Z stdout P x\n2024-05-31T12:00:00.120000000Z stderr F \n"; got != want {
		t.Errorf("got %q", got)
	}
}

// FuzzEscape compares with encoding/json, which escapes the same set.
func FuzzEscape(f *testing.F) {
	f.Add([]byte("a<\u2029\xc3\x28\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got string
		if err := json.Unmarshal(append(append([]byte{'"'}, appendEscaped(nil, b)...), '"'), &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if want := strings.ToValidUTF8(string(b), "\x01"); len([]rune(got)) != len([]rune(string(b))) {
			t.Errorf("%q: got %q, want %q", b, got, want)
		}
		std, _ := json.Marshal(string(b))
		var want string
		_ = json.Unmarshal(std, &want)
		if got != want {
			t.Errorf("%q: got %q, want %q", b, got, want)
		}
	})
}

func testWriter(t *testing.T, c Config) *fileWriter {
	t.Helper()
	if c.Path == "" {
		c.Path = filepath.Join(t.TempDir(), "log")
	}
	c.MaxFiles = max(1, c.MaxFiles)
	w, err := openFile(c, appendK8s)
	if err != nil {
		t.Fatal(err)
	}
	w.now = func() time.Time { return at }
	return w
}

// content is the log without the times.
func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), at.Format(K8sTime)+" ", "")
}

func TestLines(t *testing.T) {
	w := testWriter(t, Config{})
	for _, s := range []string{"a\nb", "c\n\n", "d"} {
		if err := w.Write(Stdout, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(Stderr, []byte("e\n")); err != nil {
		t.Fatal(err)
	}
	if got, want := content(t, w.cfg.Path), "stdout F a\nstdout F bc\nstdout F \nstderr F e\n"; got != want {
		t.Errorf("before close: %q", got)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error("second close:", err)
	}
	if got := content(t, w.cfg.Path); !strings.HasSuffix(got, "stdout F d\n") {
		t.Errorf("after close: %q", got)
	}
	if err := w.Write(Stdout, nil); err == nil {
		t.Error("wrote after close")
	}
}

// TestLongLines cuts lines that come in all sorts of pieces, and never inside
// a character.
func TestLongLines(t *testing.T) {
	const x = "é"
	for _, n := range []int{0, 1, MaxLine - 2, MaxLine, MaxLine + 2, 3*MaxLine + 10} {
		for _, chunk := range []int{7, 4096, MaxLine, 10 * MaxLine} {
			line := strings.Repeat(x, n/2)
			w := testWriter(t, Config{})
			for p := []byte(line + "\nend"); len(p) > 0; {
				k := min(chunk, len(p))
				if err := w.Write(Stdout, p[:k]); err != nil {
					t.Fatal(err)
				}
				p = p[k:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, l := range strings.Split(content(t, w.cfg.Path), "\n") {
				if rest, ok := strings.CutPrefix(l, "stdout P "); ok {
					if len(rest) > MaxLine || len(rest)%2 != 0 {
						t.Errorf("part of %d bytes", len(rest))
					}
					got.WriteString(rest)
				} else if rest, ok := strings.CutPrefix(l, "stdout F "); ok {
					got.WriteString(rest + "\n")
				}
			}
			if got.String() != line+"\nend\n" {
				t.Errorf("%d bytes by %d: content differs (%d bytes)", n, chunk, got.Len())
			}
		}
	}
}

func TestMemoryStaysSmall(t *testing.T) {
	w := testWriter(t, Config{})
	if err := w.Write(Stdout, bytes.Repeat([]byte("x"), 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(Stdout, []byte("\n")); err != nil {
		t.Fatal(err)
	}
	if n := cap(w.buf) + cap(w.pending[0].buf); n > keepBuf+keepLine {
		t.Errorf("%d bytes of buffers are kept", n)
	}
}

func TestRotate(t *testing.T) {
	for _, c := range []struct {
		files    int
		compress bool
		want     string
	}{{1, false, "log"}, {2, false, "log log.1"}, {3, false, "log log.1 log.2"}, {3, true, "log log.1.gz log.2.gz"}} {
		w := testWriter(t, Config{MaxSize: 200, MaxFiles: c.files, Compress: c.compress})
		for range 50 {
			if err := w.Write(Stdout, []byte("0123456789\n")); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		es, _ := os.ReadDir(filepath.Dir(w.cfg.Path))
		var names []string
		for _, e := range es {
			names = append(names, e.Name())
			if st, _ := e.Info(); st.Size() > 200 || st.Size() == 0 {
				t.Errorf("%d files: %s has %d bytes", c.files, e.Name(), st.Size())
			}
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%d files: got %s, want %s", c.files, got, c.want)
		}
	}
}

func TestRotateFails(t *testing.T) {
	w := testWriter(t, Config{MaxSize: 100, MaxFiles: 2})
	if err := os.MkdirAll(filepath.Join(w.cfg.Path+".1", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	var failed error
	for range 10 {
		if err := w.Write(Stdout, []byte("0123456789\n")); err != nil {
			failed = err
		}
	}
	if failed == nil {
		t.Error("no error from a rotation that cannot work")
	}
	if got := strings.Count(content(t, w.cfg.Path), "0123456789\n"); got != 10 {
		t.Errorf("%d of 10 lines are left", got)
	}
}

func TestTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("2024 stdout F whole\n2024 stdo"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := testWriter(t, Config{Path: path})
	if err := w.Write(Stdout, []byte("next\n")); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "2024 stdout F whole\n2024 stdo\nstdout F next\n" {
		t.Errorf("got %q", got)
	}
}

// TestDiskFull writes to a device that is always full: errors are told, memory
// does not grow.
func TestDiskFull(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	w := testWriter(t, Config{})
	_ = w.f.Close()
	w.f = f
	for range 100 {
		if err := w.Write(Stdout, bytes.Repeat([]byte("y"), 64<<10)); err == nil {
			t.Fatal("no error from a full disk")
		}
	}
	if n := cap(w.buf) + cap(w.pending[0].buf); n > 256<<10 {
		t.Errorf("%d bytes are held", n)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, c := range []struct {
		name string
		enc  encoder
	}{{"json", jsonEncoder(nil)}, {"k8s", appendK8s}} {
		b.Run(c.name, func(b *testing.B) {
			w, err := openFile(Config{Path: filepath.Join(b.TempDir(), "log"), MaxSize: 64 << 20, MaxFiles: 1}, c.enc)
			if err != nil {
				b.Fatal(err)
			}
			chunk := bytes.Repeat([]byte("GET /index.html HTTP/1.1 200 \"curl/8\" and so on and on, a line of log\n"), 450)
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Write(Stdout, chunk); err != nil {
					b.Fatal(err)
				}
			}
			_ = w.Close()
		})
	}
}
