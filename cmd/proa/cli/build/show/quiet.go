// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"io"
	"sync"

	"github.com/proa-containers/proa/pkg/build"
)

// Quiet prints only the output of a step that failed.
type Quiet struct {
	mu      sync.Mutex
	out     io.Writer
	running map[int]*ttyStep
}

// NewQuiet writes to out.
func NewQuiet(out io.Writer) *Quiet {
	return &Quiet{out: out, running: map[int]*ttyStep{}}
}

// Plan implements build.Reporter.
func (q *Quiet) Plan([]build.StageInfo, int) {}

// Context implements build.Reporter.
func (q *Quiet) Context(int64) {}

// Warn implements build.Reporter.
func (q *Quiet) Warn(w build.Warning) { printBuildWarning(q.out, w) }

// Output implements build.Reporter.
func (q *Quiet) Output(step build.StepRef, _ bool, text []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.running[step.Stage]; s != nil {
		s.add(text)
	}
}

// Step implements build.Reporter.
func (q *Quiet) Step(e build.StepEvent) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch s := q.running[e.Stage]; e.State {
	case build.StepStarted:
		q.running[e.Stage] = &ttyStep{}
	case build.StepFailed:
		if s != nil && len(s.tail) > 0 {
			fmt.Fprintln(q.out, lastLines(s.tail[max(0, len(s.tail)-tailBytes):]))
		}
	}
}

// Finish implements the reporter of a build: the result is told by others.
func (q *Quiet) Finish(*build.Result, error) {}
