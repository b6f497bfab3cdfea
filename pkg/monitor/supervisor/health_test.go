// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"testing"

	"github.com/proa-containers/proa/pkg/monitor"
)

func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		name    string
		probes  []int // exit codes
		inStart int   // how many of them fall into the start period
		want    string
		streak  int
	}{
		{"first success", []int{0}, 0, healthHealthy, 0},
		{"one failure is not enough", []int{1}, 0, healthStarting, 1},
		{"three failures", []int{1, 1, 1}, 0, healthUnhealthy, 3},
		{"failures of the start do not count", []int{1, 1, 1, 1, 1}, 4, healthStarting, 1},
		{"a success ends the start", []int{1, 0, 1, 1}, 4, healthHealthy, 2},
		{"and then failures count", []int{0, 1, 1, 1}, 4, healthUnhealthy, 3},
		{"back to health", []int{1, 1, 1, 0}, 0, healthHealthy, 0},
		{"a timeout is a failure", []int{-1, -1, -1}, 0, healthUnhealthy, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := monitor.HealthStatus{Status: healthStarting}
			for i, code := range tc.probes {
				st = judge(st, monitor.HealthProbe{ExitCode: code}, i < tc.inStart, 3)
			}
			if st.Status != tc.want || st.FailingStreak != tc.streak {
				t.Errorf("%s with a streak of %d, want %s with %d", st.Status, st.FailingStreak, tc.want, tc.streak)
			}
			if len(st.Log) > healthKept {
				t.Errorf("%d probes kept", len(st.Log))
			}
		})
	}
}
