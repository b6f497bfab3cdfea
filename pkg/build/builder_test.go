// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/source"
)

// With one job the stages come in the order of the file, also those that need
// nothing of one another.
func TestOneJobKeepsTheOrder(t *testing.T) {
	const stages = 9
	var text, want string
	for i := range stages {
		text += fmt.Sprintf("FROM base AS s%d\nRUN %d\n", i, i)
		want += fmt.Sprint(i)
	}
	e := newDirEngine(t)
	mustBuild(t, e, text, nil, func(o *Options) { o.Jobs, o.AllStages = 1, true })
	got := ""
	for _, r := range e.runs {
		args := r.Container.Process.Args
		got += args[len(args)-1]
	}
	if got != want {
		t.Errorf("order %s, want %s", got, want)
	}
}

// endless is an engine whose steps run until they are cancelled.
type endless struct {
	*dirEngine
	started func()
}

func (e endless) Run(ctx context.Context, _ engine.RunStep) (int, error) {
	e.started()
	<-ctx.Done()
	return 0, ctx.Err()
}

// A build that its caller cancels says so, whoever waits for the stage that ran.
func TestCancelledBuild(t *testing.T) {
	for _, jobs := range []int{1, 2} {
		for _, last := range []string{"FROM one\nRUN 2", "FROM base\nCOPY --from=one /etc /x"} {
			ctx, cancel := context.WithCancel(context.Background())
			o := Options{Context: source.Source{Dir: t.TempDir()}, Inline: []byte("FROM base AS one\nRUN 1\n" + last), Jobs: jobs}
			if _, err := Build(ctx, o, endless{newDirEngine(t), cancel}, &log{}); !errors.Is(err, context.Canceled) {
				t.Errorf("%d jobs, then %s: %v", jobs, strings.ReplaceAll(last, "\n", ", "), err)
			}
		}
	}
}

// A check has no directory of its own to work in, and the one for temporary files is
// everybody's: it takes no lock there that others may hold, and leaves nothing.
func TestCheckSharesNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	if err := os.Mkdir(filepath.Join(tmp, "build.lock"), 0o700); err != nil { // as good as another user's
		t.Fatal(err)
	}
	o := Options{Context: source.Source{Dir: contextDir(t, map[string]string{"Dockerfile": "FROM scratch"})}, CheckOnly: true}
	if _, err := Build(context.Background(), o, nil, &log{}); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if e.Name() != "build.lock" {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}
