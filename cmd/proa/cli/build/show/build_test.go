// SPDX-License-Identifier: Apache-2.0

package show

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/pkg/build"
)

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\tb  c\n":                    "a b c",
		"\x1b[31mred\x1b[0m":           "red",
		"\x1b]0;title\x07text":         "text",
		"cut \x1b[":                    "cut",
		"cut \x1b":                     "cut",
		"\x1bMup \x1b]never ended":     "up ]never ended",
		"\x1b[2J\x1b[1;1Hhome\b\b\x00": "home",
	} {
		if got := oneLine(in); got != want && !strings.HasPrefix(got, strings.Fields(want)[0]) {
			t.Errorf("oneLine(%q) = %q, want %q", in, got, want)
		}
		if strings.ContainsAny(oneLine(in), "\x1b\x07\b\t\n\x00") {
			t.Errorf("oneLine(%q) = %q moves the cursor", in, oneLine(in))
		}
	}
}

// No row is wider than the terminal, and no more are drawn than it has.
func TestBuildTTYFits(t *testing.T) {
	for _, cols := range []int{1, 5, 12, 40, 200} {
		var out bytes.Buffer
		b := NewTTY(&out, func() (int, int) { return 6, cols }, false)
		var stages []build.StageInfo
		for i := range 10 {
			stages = append(stages, build.StageInfo{Index: i, Name: "名前", Steps: 1})
		}
		b.Plan(stages, 10)
		for i := range 10 {
			b.Step(build.StepEvent{StepRef: build.StepRef{Stage: i}, State: build.StepStarted, Text: "RUN " + strings.Repeat("漢字 wide ", 20)})
			b.Output(build.StepRef{Stage: i}, false, []byte(strings.Repeat("äöü漢", 90)+"\n"))
			b.mu.Lock()
			if b.drawn > 5 {
				t.Fatalf("%d rows drawn on a terminal of 6", b.drawn)
			}
			b.mu.Unlock()
		}
		b.Step(build.StepEvent{StepRef: build.StepRef{Stage: 1}, State: build.StepDone, Took: time.Second})
		b.Finish(&build.Result{}, nil)
		for _, row := range strings.Split(out.String(), "\n") {
			if w := runewidth.StringWidth(withoutEscapes(row)); w > cols {
				t.Fatalf("a row of %d columns on a terminal of %d: %q", w, cols, row)
			}
		}
	}
}

// What a step leaves behind on its last line is ended before the next line.
func TestBuildPlainEndsLines(t *testing.T) {
	var out bytes.Buffer
	p := NewPlain(&out, &out)
	p.Plan([]build.StageInfo{{Steps: 1}}, 1)
	ref := build.StepRef{Number: 1, Total: 1}
	p.Step(build.StepEvent{StepRef: ref, State: build.StepStarted, Text: "RUN printf abc"})
	p.Step(build.StepEvent{StepRef: ref, State: build.StepRunning, Container: "c1"})
	p.Output(ref, false, []byte("one\n"))
	p.Output(ref, false, []byte("abc"))
	p.Step(build.StepEvent{StepRef: ref, State: build.StepDone, Result: "r"})
	want := "Step 1/1 : RUN printf abc\n ---> Running in c1\none\nabc\nRemoving intermediate container c1\n ---> r\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// A ^C that the terminal echoes moves the cursor out of the first column.
func TestBuildTTYErasesFromTheFirstColumn(t *testing.T) {
	var out bytes.Buffer
	tty := NewTTY(&out, func() (int, int) { return 24, 80 }, false)
	tty.drawn = 2
	tty.erase()
	if got := tty.buf.String(); got != "\r\x1b[2A\x1b[J" {
		t.Errorf("got %q", got)
	}
}

// In a terminal that became narrower the status lines may take more rows: they
// are left there instead of erasing what stands above them.
func TestBuildTTYInANarrowerTerminal(t *testing.T) {
	var out bytes.Buffer
	cols := 80
	tty := NewTTY(&out, func() (int, int) { return 24, cols }, false)
	tty.change(func() { tty.running[0] = &ttyStep{text: "RUN a", since: time.Now()}; tty.order = []int{0} })
	cols = 40
	out.Reset()
	tty.change(func() {})
	if strings.Contains(out.String(), "\x1b[") {
		t.Errorf("it erased: %q", out.String())
	}
	out.Reset()
	tty.change(func() {})
	if !strings.HasPrefix(out.String(), "\r\x1b[2A\x1b[J") {
		t.Errorf("it did not erase: %q", out.String())
	}
}

// What a Dockerfile says steers no terminal: not in the headers of steps, nor in what
// the linter finds. What a RUN prints is its own, beside status lines its text alone.
func TestBuildHeadersAreLegible(t *testing.T) {
	const evil = "RUN a\x1b]0;title\x07\x1b[2J\r\u009b2J\x7f\tb"
	ref := build.StepRef{Number: 1, Total: 1}
	stages := []build.StageInfo{{Steps: 1, Platform: "linux/\x1b[1m"}}
	for name, show := range map[string]func(out *bytes.Buffer){
		"plain": func(out *bytes.Buffer) {
			p := NewPlain(out, out)
			p.Plan([]build.StageInfo{{Steps: 1}}, 1)
			p.Step(build.StepEvent{StepRef: ref, State: build.StepStarted, Text: evil})
			p.Warn(build.Warning{Rule: "Rule", Message: evil})
		},
		"several platforms": func(out *bytes.Buffer) {
			p := NewPlain(out, out)
			p.Plan(stages, 1)
			p.Step(build.StepEvent{StepRef: ref, State: build.StepStarted, Text: evil})
		},
		"tty": func(out *bytes.Buffer) {
			b := NewTTY(out, func() (int, int) { return 24, 80 }, false)
			b.Plan(stages, 1)
			b.running[0] = &ttyStep{tail: []byte("2Jcut\n10%\r20%\r\n\x1b[31mred\x1b[0m\n" + evil + "\n")}
			b.finishStep(build.StepEvent{StepRef: ref, State: build.StepFailed, Text: evil})
			out.Write(b.buf.Bytes())
			close(b.stop)
			if !strings.Contains(out.String(), "\n2Jcut\n20%\nred\n") {
				t.Errorf("the output is %q", out.String())
			}
		},
	} {
		var out bytes.Buffer
		show(&out)
		if !strings.Contains(out.String(), "RUN a") || !strings.Contains(out.String(), "b") {
			t.Errorf("%s: %q", name, out.String())
		}
		if strings.ContainsAny(out.String(), "\x1b\x07\r\x7f\u009b") {
			t.Errorf("%s steers: %q", name, out.String())
		}
	}
}

// What a build says, on a terminal and elsewhere: which step of which stage, how long it took, how it
// ended. Under Docker's name it is what Docker said.
func TestBuildWords(t *testing.T) {
	stages := []build.StageInfo{{Index: 0, Name: "make", Steps: 2, First: 1}, {Index: 1, Steps: 2, First: 3}}
	events := func(r build.Reporter, last build.StepState) {
		step := func(stage, number int, state build.StepState, text string) {
			r.Step(build.StepEvent{
				StepRef: build.StepRef{Stage: stage, Number: number, Total: 4}, State: state, Text: text, Result: "r", Took: 1500 * time.Millisecond,
			})
		}
		r.Plan(stages, 4)
		r.Context(2048)
		step(0, 1, build.StepStarted, "FROM a AS make")
		step(0, 1, build.StepDone, "FROM a AS make")
		step(0, 2, build.StepStarted, "RUN known")
		step(0, 2, build.StepCached, "RUN known")
		step(0, 2, build.StepDone, "RUN known")
		step(1, 3, build.StepStarted, "FROM a")
		step(1, 3, build.StepDone, "FROM a")
		step(1, 4, build.StepStarted, "RUN new")
		r.Output(build.StepRef{Stage: 1, Number: 4}, false, []byte("it says\n"))
		step(1, 4, last, "RUN new")
	}
	wants := func(what, got string, want, not []string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s lacks %q:\n%s", what, w, got)
			}
		}
		for _, w := range not {
			if strings.Contains(got, w) {
				t.Errorf("%s has %q:\n%s", what, w, got)
			}
		}
	}
	plain := func(classic bool, last build.StepState, err error) string {
		var out bytes.Buffer
		p := NewPlain(&out, &out)
		p.Classic = classic
		events(p, last)
		p.Finish(&build.Result{ImageID: "0123456789abcdef"}, err)
		return out.String()
	}
	wants("plain", plain(false, build.StepDone, nil), []string{
		"Build context: 2.048kB\n", "Step 2/4 : [make] RUN known\n ---> Using cache\n", "Step 4/4 : [stage-1] RUN new\nit says\n ---> r (1.5s)\n",
		"Built in 0.0s, 1 of 2 steps from the cache\nSuccessfully built 0123456789ab\n",
	}, []string{"Docker"})
	wants("canceled", plain(false, build.StepCanceled, context.Canceled), []string{" ---> canceled (1.5s)\n"}, []string{"Built"})
	wants("Docker's", plain(true, build.StepDone, nil), []string{
		"Sending build context to Docker daemon  2.048kB\nStep 1/4 : FROM a AS make\n ---> r\n", "Step 4/4 : RUN new\nit says\n ---> r\nSuccessfully built ",
	}, []string{"Built in", "(1.5s)", "[make]"})

	tty := func(colour bool, last build.StepState, err error) string {
		var out bytes.Buffer
		b := NewTTY(&out, func() (int, int) { return 24, 80 }, colour)
		events(b, last)
		b.Finish(&build.Result{ImageID: "0123456789abcdef"}, err)
		return out.String()
	}
	wants("tty", tty(true, build.StepDone, nil), []string{
		" => CACHED [make 2/2] RUN known ", " => [stage-1 2/2] RUN new ", " => image sha256:0123456789abcdef\n", "[+] Built, 1 of 2 steps from the cache  ",
	}, []string{"\x1b[31m"})
	failed := tty(true, build.StepFailed, errors.New("no"))
	wants("failed", failed, []string{"\x1b[31m => ERROR [stage-1 2/2] RUN new", "------\nit says\n------\n", "[+] Failed at 4/4 "}, []string{"Built"})
	if !strings.Contains(failed, "\n\x1b[m") {
		t.Errorf("red does not end: %q", failed)
	}
	wants("without colour", tty(false, build.StepFailed, errors.New("no")), []string{" => ERROR [stage-1"}, []string{"\x1b[31m"})
	wants("canceled", tty(true, build.StepCanceled, context.Canceled), []string{" => CANCELED [stage-1 2/2] RUN new", "[+] Canceled at 4/4 "}, []string{"------", "ERROR"})

	quiet := func(last build.StepState) string {
		var out bytes.Buffer
		q := NewQuiet(&out)
		events(q, last)
		q.Finish(nil, nil)
		return out.String()
	}
	if got := quiet(build.StepFailed); got != "it says\n" {
		t.Errorf("quiet, failed: %q", got)
	}
	for _, s := range []build.StepState{build.StepDone, build.StepCanceled} {
		if got := quiet(s); got != "" {
			t.Errorf("quiet, %v: %q", s, got)
		}
	}
}

func TestHasColour(t *testing.T) {
	if output.HasColour(new(bytes.Buffer), func(string) (string, bool) { return "", false }) {
		t.Error("a pipe has none")
	}
}
