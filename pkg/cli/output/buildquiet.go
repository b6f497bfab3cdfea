// SPDX-License-Identifier: Apache-2.0

package output

import (
	"fmt"
	"io"
	"sync"

	"github.com/proa-containers/proa/pkg/build"
)

// BuildQuiet prints only the output of a step that failed.
type BuildQuiet struct {
	mu      sync.Mutex
	out     io.Writer
	running map[int]*ttyStep
}

// NewBuildQuiet writes to out.
func NewBuildQuiet(out io.Writer) *BuildQuiet {
	return &BuildQuiet{out: out, running: map[int]*ttyStep{}}
}

// Plan implements build.Reporter.
func (q *BuildQuiet) Plan([]build.StageInfo, int) {}

// Context implements build.Reporter.
func (q *BuildQuiet) Context(int64) {}

// Warn implements build.Reporter.
func (q *BuildQuiet) Warn(w build.Warning) { printBuildWarning(q.out, w) }

// Output implements build.Reporter.
func (q *BuildQuiet) Output(step build.StepRef, _ bool, text []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.running[step.Stage]; s != nil {
		s.add(text)
	}
}

// Step implements build.Reporter.
func (q *BuildQuiet) Step(e build.StepEvent) {
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
func (q *BuildQuiet) Finish(*build.Result, error) {}
