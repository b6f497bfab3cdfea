// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"strings"
	"testing"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/build"
)

// screen is what a terminal shows after the text: the display moves up and
// clears below, nothing else.
func screen(t *testing.T, text string) []string {
	t.Helper()
	var rows []string
	for text != "" {
		if rest, ok := strings.CutPrefix(text, "\r\x1b["); ok {
			var up int
			if n, err := fmt.Sscanf(rest, "%dA\x1b[J", &up); n != 1 || err != nil || up > len(rows) {
				t.Fatalf("unknown sequence before %.20q with %d rows", rest, len(rows))
			}
			rows = rows[:len(rows)-up]
			_, text, _ = strings.Cut(rest, "\x1b[J")
			continue
		}
		row, rest, _ := strings.Cut(text, "\n")
		rows, text = append(rows, strings.TrimRight(row, " ")), rest
	}
	return rows
}

func TestBuildPulls(t *testing.T) {
	var out strings.Builder
	b := NewTTY(&out, func() (int, int) { return 24, 80 }, false)
	b.Plan([]build.StageInfo{{Index: 0, Steps: 1}}, 1)
	b.Step(build.StepEvent{StepRef: build.StepRef{Stage: 0}, State: build.StepStarted, Text: "FROM alpine"})
	p := output.NewProgress(b.Pulls())
	p.Line("latest: Pulling from library/alpine")
	p.Layer(libpod.LayerEvent{ID: "aaaaaaaaaaaa", State: libpod.LayerWaiting})
	p.Layer(libpod.LayerEvent{ID: "bbbbbbbbbbbb", State: libpod.LayerDownloading, Bytes: 5e6, Total: 10e6})
	p.Layer(libpod.LayerEvent{ID: "aaaaaaaaaaaa", State: libpod.LayerExists})
	rows := screen(t, out.String())
	if len(rows) != 5 || rows[0] != "latest: Pulling from library/alpine" || rows[1] != "aaaaaaaaaaaa: Already exists" ||
		!strings.HasPrefix(rows[2], "[+] Building 0/1") || !strings.HasPrefix(rows[3], " => [1/1] FROM alpine") ||
		!strings.HasPrefix(rows[4], " => => bbbbbbbbbbbb: Downloading  [=") || !strings.Contains(rows[4], "5MB/10MB") {
		t.Errorf("in the middle:\n%s", strings.Join(rows, "\n"))
	}
	p.Layer(libpod.LayerEvent{ID: "bbbbbbbbbbbb", State: libpod.LayerDone})
	p.Line("Status: Downloaded newer image for alpine:latest")
	b.Step(build.StepEvent{StepRef: build.StepRef{Stage: 0}, State: build.StepDone, Text: "FROM alpine"})
	b.Finish(&build.Result{}, nil)
	var short []string
	for _, r := range screen(t, out.String()) {
		short = append(short, strings.Join(strings.Fields(strings.TrimSuffix(r, "s")), " "))
	}
	want := "latest: Pulling from library/alpine|aaaaaaaaaaaa: Already exist|bbbbbbbbbbbb: Pull complete|Status: Downloaded newer image for alpine:latest|=> [1/1] FROM alpine 0.0|[+] Built 0.0"
	if got := strings.Join(short, "|"); got != want {
		t.Errorf("at the end:\n%s\nwant\n%s", got, want)
	}
}
