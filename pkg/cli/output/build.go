// SPDX-License-Identifier: Apache-2.0

package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"

	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/term"
)

// BuildPlain shows a build as Docker's classic builder did. Stages that run
// side by side are printed one after the other, in file order: the first
// unfinished one live, the others once it is their turn.
type BuildPlain struct {
	mu     sync.Mutex
	out    io.Writer
	warn   io.Writer
	order  []int
	left   map[int]int // steps to come, per stage
	held   map[int]*bytes.Buffer
	run    map[int]string // container of the step under way, per stage
	cached map[int]bool
}

// NewBuildPlain prints steps to out and findings of the linter to warn.
func NewBuildPlain(out, warn io.Writer) *BuildPlain {
	return &BuildPlain{
		out: out, warn: warn, left: map[int]int{}, held: map[int]*bytes.Buffer{},
		run: map[int]string{}, cached: map[int]bool{},
	}
}

// Plan implements build.Reporter.
func (p *BuildPlain) Plan(stages []build.StageInfo, _ int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range stages {
		p.order = append(p.order, s.Index)
		p.left[s.Index] = s.Steps
		p.held[s.Index] = &bytes.Buffer{}
	}
}

// Context implements build.Reporter.
func (p *BuildPlain) Context(size int64) {
	fmt.Fprintf(p.out, "Sending build context to Docker daemon  %s\n", units.HumanSize(float64(size)))
}

// Warn implements build.Reporter.
func (p *BuildPlain) Warn(w build.Warning) { printBuildWarning(p.warn, w) }

func printBuildWarning(out io.Writer, w build.Warning) {
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

// writer is where a stage's text goes now.
func (p *BuildPlain) writer(stage int) io.Writer {
	if len(p.order) > 0 && p.order[0] == stage {
		return p.out
	}
	if b, ok := p.held[stage]; ok {
		return b
	}
	return p.out
}

// Output implements build.Reporter.
func (p *BuildPlain) Output(step build.StepRef, _ bool, text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.writer(step.Stage).Write(text) // a closed terminal must not end the build
}

// Step implements build.Reporter.
func (p *BuildPlain) Step(e build.StepEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.writer(e.Stage)
	switch e.State {
	case build.StepStarted:
		fmt.Fprintf(w, "Step %d/%d : %s\n", e.Number, e.Total, e.Text)
		return
	case build.StepCached:
		fmt.Fprintln(w, " ---> Using cache")
		return
	case build.StepRunning:
		p.run[e.Stage] = short(e.Container)
		fmt.Fprintf(w, " ---> Running in %s\n", short(e.Container))
		return
	}
	if c := p.run[e.Stage]; c != "" {
		fmt.Fprintf(w, "Removing intermediate container %s\n", c)
		delete(p.run, e.Stage)
	}
	if e.State == build.StepDone {
		fmt.Fprintf(w, " ---> %s\n", e.Result)
	}
	p.left[e.Stage]--
	p.advance()
}

// advance lets the next stage speak once the current one is done.
func (p *BuildPlain) advance() {
	for len(p.order) > 0 && p.left[p.order[0]] <= 0 {
		p.order = p.order[1:]
		if len(p.order) > 0 {
			p.flush(p.order[0])
		}
	}
}

func (p *BuildPlain) flush(stage int) {
	_, _ = p.held[stage].WriteTo(p.out)
}

// Finish prints the closing lines. After an error it prints what held-back
// stages have said: the reason may be among it.
func (p *BuildPlain) Finish(r *build.Result, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		for _, s := range p.order {
			p.flush(s)
		}
		return
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

// BuildJSON prints one JSON object per event, for programs.
type BuildJSON struct {
	mu  sync.Mutex
	enc *json.Encoder
}

// NewBuildJSON writes to out.
func NewBuildJSON(out io.Writer) *BuildJSON { return &BuildJSON{enc: json.NewEncoder(out)} }

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
}

func (j *BuildJSON) put(l buildLine) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.enc.Encode(l) // a reader that went away must not end the build
}

// Plan implements build.Reporter.
func (j *BuildJSON) Plan(_ []build.StageInfo, steps int) {
	j.put(buildLine{Type: "plan", Total: steps})
}

// Context implements build.Reporter.
func (j *BuildJSON) Context(size int64) { j.put(buildLine{Type: "context", Size: size}) }

// Warn implements build.Reporter.
func (j *BuildJSON) Warn(w build.Warning) {
	j.put(buildLine{Type: "warning", Rule: w.Rule, Text: w.Message, Line: w.Line})
}

// Output implements build.Reporter.
func (j *BuildJSON) Output(s build.StepRef, stderr bool, text []byte) {
	stream := "stdout"
	if stderr {
		stream = "stderr"
	}
	j.put(buildLine{Type: "output", Stage: &s.Stage, Step: s.Number, Stream: stream, Text: string(text)})
}

var buildStates = map[build.StepState]string{
	build.StepStarted: "started", build.StepCached: "cached", build.StepRunning: "running",
	build.StepDone: "done", build.StepFailed: "failed",
}

// Step implements build.Reporter.
func (j *BuildJSON) Step(e build.StepEvent) {
	l := buildLine{
		Type: "step", Stage: &e.Stage, Step: e.Number, Total: e.Total, Line: e.Line, State: buildStates[e.State],
		Text: e.Text, Container: e.Container, Result: e.Result, Seconds: e.Took.Seconds(),
	}
	if e.Err != nil {
		l.Error = e.Err.Error()
	}
	j.put(l)
}

// Finish prints the result.
func (j *BuildJSON) Finish(r *build.Result, err error) {
	if err != nil {
		j.put(buildLine{Type: "result", Error: err.Error()})
		return
	}
	j.put(buildLine{Type: "result", Result: "sha256:" + r.ImageID, Names: r.Names})
}

// BuildTTY shows a build on a terminal: finished steps scroll by, one line per
// running step stays at the bottom.
type BuildTTY struct {
	mu      sync.Mutex
	out     io.Writer
	width   func() int
	names   map[int]string
	running map[int]*ttyStep
	order   []int
	drawn   int
	last    time.Time
	started time.Time
	steps   int
	done    int
}

type ttyStep struct {
	ref    build.StepRef
	text   string
	since  time.Time
	cached bool
	tail   []byte // the last output, for a failure
	line   string // the last line of output
}

// tailBytes is how much of a failed command's output is shown.
const tailBytes = 16 << 10

// NewBuildTTY draws on out; width tells its columns.
func NewBuildTTY(out io.Writer, width func() int) *BuildTTY {
	return &BuildTTY{out: out, width: width, names: map[int]string{}, running: map[int]*ttyStep{}, started: time.Now()}
}

// Plan implements build.Reporter.
func (t *BuildTTY) Plan(stages []build.StageInfo, steps int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = steps
	for _, s := range stages {
		t.order = append(t.order, s.Index)
		if t.names[s.Index] = s.Name; s.Name == "" {
			t.names[s.Index] = fmt.Sprintf("stage-%d", s.Index)
		}
	}
}

// Context implements build.Reporter.
func (t *BuildTTY) Context(int64) {}

// Warn implements build.Reporter.
func (t *BuildTTY) Warn(w build.Warning) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	printBuildWarning(t.out, w)
	t.draw()
}

// Output implements build.Reporter.
func (t *BuildTTY) Output(step build.StepRef, _ bool, text []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.running[step.Stage]
	if s == nil {
		return
	}
	s.tail = append(s.tail, text...)
	if len(s.tail) > 2*tailBytes {
		s.tail = append([]byte(nil), s.tail[len(s.tail)-tailBytes:]...)
	}
	for _, l := range strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' }) {
		if l = strings.TrimSpace(l); l != "" {
			s.line = l
		}
	}
	if time.Since(t.last) > 80*time.Millisecond {
		t.erase()
		t.draw()
	}
}

// Step implements build.Reporter.
func (t *BuildTTY) Step(e build.StepEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	switch e.State {
	case build.StepStarted:
		t.running[e.Stage] = &ttyStep{ref: e.StepRef, text: e.Text, since: time.Now()}
	case build.StepCached:
		if s := t.running[e.Stage]; s != nil {
			s.cached = true
		}
	case build.StepDone, build.StepFailed:
		t.finishStep(e)
	}
	t.draw()
}

func (t *BuildTTY) finishStep(e build.StepEvent) {
	s := t.running[e.Stage]
	delete(t.running, e.Stage)
	t.done++
	mark := "=>"
	switch {
	case e.State == build.StepFailed:
		mark = "=> ERROR"
	case s != nil && s.cached:
		mark = "=> CACHED"
	}
	t.line(fmt.Sprintf("%s [%s] %s", mark, t.names[e.Stage], oneLine(e.Text)), e.Took)
	if e.State == build.StepFailed && s != nil && len(s.tail) > 0 {
		tail := s.tail[max(0, len(s.tail)-tailBytes):]
		fmt.Fprintf(t.out, "------\n%s\n------\n", bytes.TrimRight(tail, "\n"))
	}
}

// Width is the number of columns of the terminal that out is, 80 where it is
// none.
func Width(out any) int {
	f, ok := out.(*os.File)
	if !ok {
		return 80
	}
	_, cols, err := term.Size(f)
	if err != nil || cols == 0 {
		return 80
	}
	return int(cols)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (t *BuildTTY) line(text string, took time.Duration) {
	w := t.width()
	if w < 20 {
		w = 80
	}
	right := fmt.Sprintf("%.1fs", took.Seconds())
	r := []rune(text)
	if room := w - len(right) - 2; len(r) > room {
		r = append(r[:room-1], '…')
	}
	fmt.Fprintf(t.out, "%s%s%s\n", string(r), strings.Repeat(" ", max(1, w-len(r)-len(right)-1)), right)
}

// erase removes the lines that draw left.
func (t *BuildTTY) erase() {
	if t.drawn > 0 {
		fmt.Fprintf(t.out, "\x1b[%dA\x1b[J", t.drawn)
		t.drawn = 0
	}
}

func (t *BuildTTY) draw() {
	t.last = time.Now()
	if len(t.running) == 0 {
		return
	}
	t.line(fmt.Sprintf("[+] Building %d/%d", t.done, t.steps), time.Since(t.started))
	t.drawn = 1
	for _, i := range t.order {
		s := t.running[i]
		if s == nil {
			continue
		}
		t.line(fmt.Sprintf(" => [%s] %s", t.names[i], oneLine(s.text)), time.Since(s.since))
		t.drawn++
		if s.line != "" {
			t.line(" => # "+s.line, time.Since(s.since))
			t.drawn++
		}
	}
}

// Finish removes the status lines.
func (t *BuildTTY) Finish(r *build.Result, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	if err != nil {
		return
	}
	for _, n := range r.Names {
		t.line(" => naming to "+n, 0)
	}
	t.line(" => image sha256:"+r.ImageID, time.Since(t.started))
}
