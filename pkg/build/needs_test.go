// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/spec"
)

// triggers is a dirEngine whose base image has other triggers.
type triggers struct {
	*dirEngine
	onBuild []string
}

func (e *triggers) Base(ctx context.Context, ref, platform string, pull spec.PullPolicy) (*engine.Base, error) {
	b, err := e.dirEngine.Base(ctx, ref, platform, pull)
	if err == nil {
		b.Config.Config.OnBuild = e.onBuild
	}
	return b, err
}

// Stages that only triggers of base images read, whoever comes first, and circles of
// them: a build ends, with any number of jobs.
func TestNeeds(t *testing.T) {
	needRoot(t)
	const made = "FROM scratch AS below\nCOPY a /a\nFROM below AS made\nRUN made\n"
	for _, c := range []struct {
		name, onBuild, text string
		runs                int
		want                string // the error
	}{
		{"one reader", "COPY --from=made /a /b", made + "FROM base\n", 1, ""},
		{"many readers", "COPY --from=made /a /b", made + "FROM base AS x\nFROM base AS y\nFROM base\nCOPY --from=x /b /x\nCOPY --from=y /b /y\n", 1, ""},
		{"a later stage", "COPY --from=made /a /b", "FROM base AS x\nFROM scratch AS made\nCOPY a /a\nRUN made\nFROM x\n", 1, ""},
		{"waits for one of the plan", "COPY --from=slow /a /b", "FROM base AS x\nFROM scratch AS slow\nCOPY a /a\nRUN slow\nFROM x\nCOPY --from=slow /a /c\n", 1, ""},
		{"reads the reader", "COPY --from=made /a /b", "FROM scratch AS made\nCOPY --from=x /a /a\nFROM base AS x\n", 0, "circular dependency detected on stage: made"},
		{"read each other", "COPY --from=y /a /b", "FROM scratch AS t\nCOPY --from=x /b /\nCOPY --from=y /a /\nFROM base AS x\nFROM x AS y\nCOPY a /a\nFROM t\n", 0, "circular dependency detected on stage: y"},
		{"itself", "COPY --from=x /a /b", "FROM base AS x\n", 0, `stage "x" cannot copy from itself`},
		{"fails", "COPY --from=made /a /b", "FROM scratch AS made\nCOPY a /a\nRUN fails\nFROM base AS x\nFROM base\nCOPY --from=x /b /\n", 1, "returned a non-zero code: 3"},
	} {
		for _, jobs := range []int{1, 2, 8} {
			e := &triggers{newDirEngine(t), []string{c.onBuild}}
			e.run = func(s engine.RunStep, _ string) int {
				if strings.Contains(strings.Join(s.Container.Process.Args, " "), "fails") {
					return 3
				}
				return 0
			}
			done := make(chan error)
			go func() {
				_, _, err := buildIt(t, e, c.text, map[string]string{"a": "1"}, func(o *Options) { o.Jobs = jobs })
				done <- err
			}()
			select {
			case err := <-done:
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s, %d jobs: %v, want %q", c.name, jobs, err, c.want)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s, %d jobs: the build does not end", c.name, jobs)
			}
			if len(e.runs) != c.runs {
				t.Errorf("%s, %d jobs: %d commands ran, want %d", c.name, jobs, len(e.runs), c.runs)
			}
		}
	}
}
