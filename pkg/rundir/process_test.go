// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// A command may have parentheses and blanks in its name.
func TestStat(t *testing.T) {
	line := "12 (a) b) c) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"
	if f := StatFields([]byte(line)); !slices.Equal(f[:2], strings.Fields("S 1")) {
		t.Errorf("%q", f)
	}
	if n, err := ParseStart([]byte(line)); n != 4711 || err != nil {
		t.Error(n, err)
	}
	for _, bad := range []string{"", "12 a", "12 (x", "12 (a) S 1 2",
		"42 (x) S 1 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 y"} {
		if n, err := ParseStart([]byte(bad)); err == nil {
			t.Errorf("%q: %d", bad, n)
		}
	}
}

func TestProcessAlive(t *testing.T) {
	start, err := StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !(Process{os.Getpid(), start}).Alive() || (Process{os.Getpid(), start + 1}).Alive() || (Process{}).Alive() {
		t.Error("a process is its pid and its start time")
	}
}
