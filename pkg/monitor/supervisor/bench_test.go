// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/ocispec"
)

// BenchmarkRunTrue is the monitor's part of "run --rm --network none": from
// the launch to the exit frame, with the user's namespace at hand.
func BenchmarkRunTrue(b *testing.B) {
	base := tempBase(b)
	holder := newBoxIn(b, base, []string{"sleep", "1000"})
	holder.mustStart()
	var all, ready []time.Duration
	sec := func(_ *monitor.Config, in *ocispec.Input) { in.Spec.Security.Seccomp = os.Getenv("SEC") }
	for b.Loop() {
		b.StopTimer()
		box := newBoxIn(b, base, []string{"true"}, remove, foreground, sec)
		b.StartTimer()
		begin := time.Now()
		box.mustStart()
		ready = append(ready, time.Since(begin))
		box.end()
		all = append(all, time.Since(begin))
	}
	report(b, "start", ready)
	report(b, "run", all)
}

// BenchmarkExecTrue is the monitor's part of "exec".
func BenchmarkExecTrue(b *testing.B) {
	box := newBox(b, []string{"sleep", "1000"})
	box.mustStart()
	var all []time.Duration
	for b.Loop() {
		begin := time.Now()
		box.exec("true")
		all = append(all, time.Since(begin))
	}
	report(b, "exec", all)
}

func report(b *testing.B, name string, d []time.Duration) {
	slices.Sort(d)
	b.ReportMetric(float64(d[len(d)/2].Microseconds())/1000, name+"-ms-median")
	b.ReportMetric(float64(d[0].Microseconds())/1000, name+"-ms-min")
}

// BenchmarkIdleMemory starts ten containers and reports one monitor's share.
func BenchmarkIdleMemory(b *testing.B) {
	for b.Loop() {
		base := tempBase(b)
		var boxes []*box
		for range 10 {
			x := newBoxIn(b, base, []string{"sleep", "1000"})
			x.mustStart()
			boxes = append(boxes, x)
		}
		time.Sleep(1500 * time.Millisecond)
		if hold, err := time.ParseDuration(os.Getenv("HOLD")); err == nil {
			time.Sleep(hold) // to look around
		}
		var pss, dirty int
		for _, x := range boxes {
			p, d := memory(b, x.status())
			pss, dirty = pss+p, dirty+d
		}
		b.ReportMetric(float64(pss)/10, "pss-KiB")
		b.ReportMetric(float64(dirty)/10, "private-dirty-KiB")
	}
}

func memory(b testing.TB, st monitor.Status) (pss, dirty int) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", st.MonitorPID))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) < 2 {
			continue
		}
		n, _ := strconv.Atoi(w[1])
		switch w[0] {
		case "Pss:":
			pss = n
		case "Private_Dirty:":
			dirty = n
		}
	}
	return pss, dirty
}
