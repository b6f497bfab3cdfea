// SPDX-License-Identifier: Apache-2.0

// Package show shows how a build goes on, and what a Dockerfile holds.
package show

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/docker/go-units"
	"github.com/mattn/go-runewidth"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/term"
)

// Plain shows a build as Docker's classic builder did, with times and the names of stages besides.
// Stages that run side by side are printed one after the other, in file order: the first
// unfinished one live, the others once it is their turn.
type Plain struct {
	// Classic leaves out what Docker did not say, for programs that read its words.
	Classic bool

	mu     sync.Mutex
	out    io.Writer
	warn   io.Writer
	order  []int
	left   map[int]int // steps to come, per stage
	held   map[int]*bytes.Buffer
	run    map[int]string // container of the step under way, per stage
	cut    map[int]bool   // the step's output does not end with a newline, per stage
	stages map[int]build.StageInfo
	tally  tally
}

// tally counts the steps for the last line of a build.
type tally struct {
	started      time.Time
	steps, known int
}

// add counts an event of a stage. It skips FROM lines, which the cache never holds.
func (t *tally) add(e build.StepEvent, s build.StageInfo) {
	if e.Trigger || e.Number == s.First {
		return
	}
	switch e.State {
	case build.StepDone:
		t.steps++
	case build.StepCached:
		t.known++
	}
}

// cached says how many steps came from the cache, if any did.
func (t *tally) cached() string {
	if t.known == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of %d steps from the cache", t.known, t.steps)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// NewPlain prints steps to out and findings of the linter to warn.
func NewPlain(out, warn io.Writer) *Plain {
	return &Plain{
		out: out, warn: warn, left: map[int]int{}, held: map[int]*bytes.Buffer{},
		run: map[int]string{}, cut: map[int]bool{}, stages: map[int]build.StageInfo{}, tally: tally{started: time.Now()},
	}
}

// Plan implements build.Reporter.
func (p *Plain) Plan(stages []build.StageInfo, _ int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.order = nil
	for _, s := range stages {
		p.order = append(p.order, s.Index)
		p.stages[s.Index] = s
		p.left[s.Index] = s.Steps
		p.held[s.Index] = &bytes.Buffer{}
	}
}

// Context implements build.Reporter.
func (p *Plain) Context(size int64) {
	text := "Build context: "
	if p.Classic {
		text = "Sending build context to Docker daemon  "
	}
	fmt.Fprintln(p.out, text+units.HumanSize(float64(size)))
}

// Pulls is where the transfers of the build are told: among the steps, as
// Docker does.
func (p *Plain) Pulls() io.Writer { return plainPulls{p} }

type plainPulls struct{ p *Plain }

// Write takes whole lines.
func (w plainPulls) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return w.p.out.Write(b)
}

// Warn implements build.Reporter.
func (p *Plain) Warn(w build.Warning) { printBuildWarning(p.warn, w) }

func printBuildWarning(out io.Writer, w build.Warning) {
	w.Message = output.Legible(w.Message)
	where := ""
	if w.Line > 0 {
		where = fmt.Sprintf(" (line %d)", w.Line)
	}
	if w.Rule == "" && w.Line == 0 {
		fmt.Fprintf(out, "[Warning] %s\n", w.Message)
		return
	}
	rule := w.Rule
	if rule != "" {
		rule += ": "
	}
	fmt.Fprintf(out, "WARN: %s%s%s\n", rule, w.Message, where)
}

// stepName is how BuildKit writes a step: of the platform, if there are several.
func stepName(s build.StageInfo, number int) string {
	name := fmt.Sprintf("%s %d/%d]", stageName(s), number-s.First+1, s.Steps)
	if s.Platform != "" {
		return "[" + output.Legible(s.Platform) + " " + name
	}
	return "[" + name
}

func stageName(s build.StageInfo) string {
	if s.Name == "" {
		return fmt.Sprintf("stage-%d", s.Index%build.StageSpan)
	}
	return output.Legible(s.Name)
}

// writer is where a stage's text goes now.
func (p *Plain) writer(stage int) io.Writer {
	if len(p.order) > 0 && p.order[0] == stage {
		return p.out
	}
	if b, ok := p.held[stage]; ok {
		return b
	}
	return p.out
}

// Output implements build.Reporter.
func (p *Plain) Output(step build.StepRef, _ bool, text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(text) > 0 {
		p.cut[step.Stage] = text[len(text)-1] != '\n'
	}
	_, _ = p.writer(step.Stage).Write(text) // a closed terminal must not end the build
}

// Step implements build.Reporter.
func (p *Plain) Step(e build.StepEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.writer(e.Stage)
	p.tally.add(e, p.stages[e.Stage])
	switch e.State {
	case build.StepStarted:
		onBuild := ""
		if e.Trigger {
			onBuild = "ONBUILD "
		}
		if s := p.stages[e.Stage]; s.Platform != "" {
			fmt.Fprintf(w, "%s %s%s\n", stepName(s, e.Number), onBuild, output.Legible(e.Text))
		} else {
			stage := ""
			if len(p.stages) > 1 && !p.Classic {
				stage = "[" + stageName(s) + "] "
			}
			fmt.Fprintf(w, "Step %d/%d : %s%s%s\n", e.Number, e.Total, stage, onBuild, output.Legible(e.Text))
		}
		return
	case build.StepCached:
		fmt.Fprintln(w, " ---> Using cache")
		return
	case build.StepRunning:
		p.run[e.Stage] = short(e.Container)
		fmt.Fprintf(w, " ---> Running in %s\n", short(e.Container))
		return
	}
	if p.cut[e.Stage] {
		fmt.Fprintln(w)
		delete(p.cut, e.Stage)
	}
	if c := p.run[e.Stage]; c != "" {
		fmt.Fprintf(w, "Removing intermediate container %s\n", c)
		delete(p.run, e.Stage)
	}
	switch took := " (" + seconds(e.Took) + ")"; {
	case p.Classic && e.State == build.StepDone, e.State == build.StepDone && e.Took < told:
		fmt.Fprintf(w, " ---> %s\n", e.Result)
	case e.State == build.StepDone:
		fmt.Fprintf(w, " ---> %s%s\n", e.Result, took)
	case e.State == build.StepCanceled:
		fmt.Fprintln(w, " ---> canceled"+took)
	}
	if e.Triggers == 0 {
		p.left[e.Stage]--
		p.advance()
	}
}

// advance lets the next stage speak once the current one is done.
func (p *Plain) advance() {
	for len(p.order) > 0 && p.left[p.order[0]] <= 0 {
		p.order = p.order[1:]
		if len(p.order) > 0 {
			p.flush(p.order[0])
		}
	}
}

func (p *Plain) flush(stage int) {
	_, _ = p.held[stage].WriteTo(p.out)
}

// Finish prints the closing lines. After an error it prints what held-back
// stages have said: the reason may be among it.
func (p *Plain) Finish(r *build.Result, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		for _, s := range p.order {
			p.flush(s)
		}
		return
	}
	if r.ImageID == "" {
		return // the result went elsewhere
	}
	if !p.Classic {
		fmt.Fprintln(p.out, "Built in "+seconds(time.Since(p.tally.started))+p.tally.cached())
	}
	fmt.Fprintf(p.out, "Successfully built %s\n", short(r.ImageID))
	for _, n := range r.Names {
		fmt.Fprintf(p.out, "Successfully tagged %s\n", n)
	}
}

func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

// JSON prints one JSON object per event, for programs.
type JSON struct {
	mu  sync.Mutex
	enc *json.Encoder
	// platforms of the stages, where there are several
	platforms map[int]string
}

// NewJSON writes to out.
func NewJSON(out io.Writer) *JSON {
	return &JSON{enc: json.NewEncoder(out), platforms: map[int]string{}}
}

type buildLine struct {
	Type      string   `json:"type"`
	Stage     *int     `json:"stage,omitempty"`
	Step      int      `json:"step,omitempty"`
	Total     int      `json:"total,omitempty"`
	Line      int      `json:"line,omitempty"`
	State     string   `json:"state,omitempty"`
	Text      string   `json:"text,omitempty"`
	Stream    string   `json:"stream,omitempty"`
	Container string   `json:"container,omitempty"`
	Result    string   `json:"result,omitempty"`
	Error     string   `json:"error,omitempty"`
	Seconds   float64  `json:"seconds,omitempty"`
	Size      int64    `json:"size,omitempty"`
	Rule      string   `json:"rule,omitempty"`
	Names     []string `json:"names,omitempty"`
	Platform  string   `json:"platform,omitempty"`
}

func (j *JSON) put(l buildLine) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.enc.Encode(l) // a reader that went away must not end the build
}

// Plan implements build.Reporter.
func (j *JSON) Plan(stages []build.StageInfo, steps int) {
	for _, s := range stages {
		j.platforms[s.Index] = s.Platform
	}
	j.put(buildLine{Type: "plan", Total: steps})
}

// Context implements build.Reporter.
func (j *JSON) Context(size int64) { j.put(buildLine{Type: "context", Size: size}) }

// Warn implements build.Reporter.
func (j *JSON) Warn(w build.Warning) {
	j.put(buildLine{Type: "warning", Rule: w.Rule, Text: w.Message, Line: w.Line})
}

// Output implements build.Reporter.
func (j *JSON) Output(s build.StepRef, stderr bool, text []byte) {
	stream := "stdout"
	if stderr {
		stream = "stderr"
	}
	j.put(buildLine{Type: "output", Stage: &s.Stage, Step: s.Number, Stream: stream, Text: string(text), Platform: j.platforms[s.Stage]})
}

var buildStates = map[build.StepState]string{
	build.StepStarted: "started", build.StepCached: "cached", build.StepRunning: "running",
	build.StepDone: "done", build.StepFailed: "failed", build.StepCanceled: "canceled",
}

// Step implements build.Reporter.
func (j *JSON) Step(e build.StepEvent) {
	l := buildLine{
		Type: "step", Stage: &e.Stage, Step: e.Number, Total: e.Total, Line: e.Line, State: buildStates[e.State],
		Text: e.Text, Container: e.Container, Result: e.Result, Seconds: e.Took.Seconds(),
		Platform: j.platforms[e.Stage],
	}
	if e.Err != nil {
		l.Error = e.Err.Error()
	}
	j.put(l)
}

// Finish prints the result.
func (j *JSON) Finish(r *build.Result, err error) {
	if err != nil {
		j.put(buildLine{Type: "result", Error: err.Error()})
		return
	}
	l := buildLine{Type: "result", Names: r.Names}
	if r.ImageID != "" {
		l.Result = "sha256:" + r.ImageID
	}
	j.put(l)
}

// TTY shows a build on a terminal: finished steps scroll by, the running
// ones stay at the bottom. Each change is one write, so nothing flickers.
type TTY struct {
	mu      sync.Mutex
	out     io.Writer
	size    func() (rows, cols int)
	buf     bytes.Buffer // of the next write
	stages  map[int]build.StageInfo
	running map[int]*ttyStep
	order   []int
	pulls   []*pulledLayer
	drawn   int
	cols    int // of the terminal when the status lines were drawn
	last    time.Time
	tally   tally
	steps   int
	colour  bool
	done    int
	stop    chan struct{} // ends the clock
}

type ttyStep struct {
	ref    build.StepRef
	text   string
	since  time.Time
	cached bool
	tail   []byte // the last output, for a failure
	line   string // the last line of output
}

const (
	// told is the duration from which a step's time is printed.
	told = 100 * time.Millisecond
	// tailBytes is how much of a failed command's output is shown.
	tailBytes = 16 << 10
	// drawEvery bounds how often output alone redraws.
	drawEvery = 80 * time.Millisecond
	// tick is how often the running steps' times advance.
	tick = 500 * time.Millisecond
)

// NewTTY draws on out; size tells its rows and columns. A failure is red where colour says so.
func NewTTY(out io.Writer, size func() (rows, cols int), colour bool) *TTY {
	return &TTY{out: out, size: size, stages: map[int]build.StageInfo{}, running: map[int]*ttyStep{}, tally: tally{started: time.Now()}, stop: make(chan struct{}), colour: colour}
}

// change runs do between the removal of the status lines and their new
// drawing.
func (t *TTY) change(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	do()
	t.draw()
	_, _ = t.out.Write(t.buf.Bytes()) // a closed terminal must not end the build
	t.buf.Reset()
}

// Plan implements build.Reporter.
func (t *TTY) Plan(stages []build.StageInfo, steps int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	again := t.order != nil
	t.steps, t.done, t.order = steps, 0, nil
	for _, s := range stages {
		t.order = append(t.order, s.Index)
		t.stages[s.Index] = s
	}
	if !again {
		go t.clock()
	}
}

func (t *TTY) clock() {
	c := time.NewTicker(tick)
	defer c.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-c.C:
			t.change(func() {})
		}
	}
}

// Context implements build.Reporter.
func (t *TTY) Context(size int64) {
	t.change(func() {
		fmt.Fprintf(&t.buf, "The build reads %s of its context; what .dockerignore names is left out.\n", units.HumanSize(float64(size)))
	})
}

// Warn implements build.Reporter.
func (t *TTY) Warn(w build.Warning) { t.change(func() { printBuildWarning(&t.buf, w) }) }

// Output implements build.Reporter.
func (t *TTY) Output(step build.StepRef, _ bool, text []byte) {
	t.mu.Lock()
	s := t.running[step.Stage]
	if s != nil {
		s.add(text)
	}
	due := s != nil && time.Since(t.last) > drawEvery
	t.mu.Unlock()
	if due {
		t.change(func() {})
	}
}

func (s *ttyStep) add(text []byte) {
	s.tail = append(s.tail, text...)
	if len(s.tail) > 2*tailBytes {
		s.tail = append([]byte(nil), s.tail[len(s.tail)-tailBytes:]...)
	}
	for _, l := range strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' }) {
		if l = oneLine(l); l != "" {
			s.line = l
		}
	}
}

// Step implements build.Reporter.
func (t *TTY) Step(e build.StepEvent) {
	t.change(func() {
		t.tally.add(e, t.stages[e.Stage])
		switch e.State {
		case build.StepStarted:
			t.running[e.Stage] = &ttyStep{ref: e.StepRef, text: e.Text, since: time.Now()}
		case build.StepCached:
			if s := t.running[e.Stage]; s != nil {
				s.cached = true
			}
		case build.StepDone, build.StepFailed, build.StepCanceled:
			t.finishStep(e)
		}
	})
}

func (t *TTY) finishStep(e build.StepEvent) {
	s := t.running[e.Stage]
	delete(t.running, e.Stage)
	if !e.Trigger {
		t.done++
	}
	mark := " =>"
	switch {
	case e.State == build.StepFailed:
		mark = " => ERROR"
	case e.State == build.StepCanceled:
		mark = " => CANCELED"
	case s != nil && s.cached:
		mark = " => CACHED"
	}
	text := fmt.Sprintf("%s %s %s", mark, t.name(e.StepRef), oneLine(e.Text))
	if e.State == build.StepFailed && t.colour {
		t.buf.WriteString("\x1b[31m")
		t.line(text, e.Took)
		t.buf.WriteString("\x1b[m")
	} else {
		t.line(text, e.Took)
	}
	if e.State == build.StepFailed && s != nil && len(s.tail) > 0 {
		tail := s.tail[max(0, len(s.tail)-tailBytes):]
		fmt.Fprintf(&t.buf, "------\n%s\n------\n", lastLines(tail))
	}
}

func (t *TTY) name(ref build.StepRef) string {
	s := t.stages[ref.Stage]
	if len(t.stages) == 1 && s.Name == "" && s.Platform == "" {
		return fmt.Sprintf("[%d/%d]", ref.Number-s.First+1, s.Steps)
	}
	return stepName(s, ref.Number)
}

// TerminalSize is the number of rows and columns of the terminal that out is, 24 and
// 80 where it is none.
func TerminalSize(out any) (rows, cols int) {
	f, ok := out.(*os.File)
	if !ok {
		return 24, 80
	}
	r, c, err := term.Size(f)
	if err != nil || r == 0 || c == 0 {
		return 24, 80
	}
	return int(r), int(c)
}

// oneLine is s with every run of blanks as one, and without escape sequences
// and other characters that would move the cursor.
func oneLine(s string) string {
	s = withoutEscapes(s)
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}

// lastLines is the end of a command's output beside the status lines. The beginning of a
// sequence may be missing, and what moves the cursor would write over them: the text is
// shown alone, of a line that was written several times the last state.
func lastLines(tail []byte) string {
	lines := strings.Split(withoutEscapes(string(tail)), "\n")
	for i, l := range lines {
		l = strings.TrimRight(l, "\r")
		lines[i] = output.Legible(l[strings.LastIndexByte(l, '\r')+1:])
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// withoutEscapes drops a terminal's control sequences: ESC [ ... letter, ESC ]
// ... BEL, and ESC with one character.
func withoutEscapes(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "\x1b")
		b.WriteString(before)
		if !found || after == "" {
			return b.String()
		}
		end := 1
		switch after[0] {
		case '[':
			end = 1 + strings.IndexFunc(after[1:], func(r rune) bool { return r >= '@' && r <= '~' }) + 1
		case ']':
			end = strings.IndexAny(after, "\x07\x1b") + 1
		}
		if end <= 1 && after[0] != '[' || end < 1 {
			end = 1
		}
		s = after[end:]
	}
}

// line writes one row: the text, cut to fit, and the time at the right edge.
func (t *TTY) line(text string, took time.Duration) { t.row(text, seconds(took)) }

// row writes one row: the text, cut to fit, and what stands at the right edge, if it fits.
func (t *TTY) row(text, right string) {
	_, cols := t.size()
	room := cols - len(right) - 2
	if room < 10 {
		right, room = "", max(cols-1, 1)
	}
	text = runewidth.Truncate(text, room, output.Drawn("…"))
	gap := max(1, cols-1-runewidth.StringWidth(text)-len(right))
	if right == "" {
		gap = 0
	}
	fmt.Fprintf(&t.buf, "%s%s%s\n", text, strings.Repeat(" ", gap), right)
}

// erase removes the lines that draw left. The cursor is not in the first column
// where the terminal has echoed a key, such as ^C. In a window that became
// narrower they may take more rows each: then they stay where they are.
func (t *TTY) erase() {
	_, cols := t.size()
	if cols < t.cols {
		t.drawn = 0
	}
	t.cols = cols
	if t.drawn > 0 {
		fmt.Fprintf(&t.buf, "\r\x1b[%dA\x1b[J", t.drawn)
		t.drawn = 0
	}
}

// draw writes the status lines, fewer than the terminal has rows: what scrolled
// away could not be erased.
func (t *TTY) draw() {
	t.last = time.Now()
	if len(t.running) == 0 {
		return
	}
	rows, _ := t.size()
	left := max(rows-2, 1)
	put := func(text string, since time.Time) {
		if left > 0 {
			t.line(text, time.Since(since))
			t.drawn++
			left--
		}
	}
	put(fmt.Sprintf("[+] Building %d/%d", t.done, t.steps), t.tally.started)
	for _, i := range t.order {
		s := t.running[i]
		if s == nil {
			continue
		}
		put(fmt.Sprintf(" => %s %s", t.name(s.ref), oneLine(s.text)), s.since)
		if s.line != "" {
			put(" => # "+s.line, s.since)
		}
	}
	_, cols := t.size()
	for _, p := range t.pulls {
		put(" => => "+output.BarText(p.event, cols-len(" => =>  12.3s ")), p.since)
	}
}

// Finish removes the status lines. It is called once, last.
func (t *TTY) Finish(r *build.Result, err error) {
	close(t.stop)
	t.change(func() {
		t.running = map[int]*ttyStep{}
		took := time.Since(t.tally.started)
		switch {
		case errors.Is(err, context.Canceled):
			t.line(fmt.Sprintf("[+] Canceled at %d/%d", t.done, t.steps), took)
			return
		case err != nil:
			t.line(fmt.Sprintf("[+] Failed at %d/%d", t.done, t.steps), took)
			return
		}
		for _, n := range r.Names {
			t.row(" => naming to "+n, "")
		}
		if r.ImageID != "" {
			kind := "image"
			if len(r.Images) > 1 {
				kind = "manifest list"
			}
			t.row(" => "+kind+" sha256:"+r.ImageID, "")
		}
		t.line("[+] Built"+t.tally.cached(), took)
	})
}
