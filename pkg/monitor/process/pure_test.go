// SPDX-License-Identifier: Apache-2.0

package process

import (
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/opencontainers/runc/libcontainer/configs"
)

func TestCapabilitiesOfUsers(t *testing.T) {
	c := &configs.Capabilities{Bounding: []string{"CAP_CHOWN"}, Effective: []string{"CAP_CHOWN"}, Permitted: []string{"CAP_CHOWN"}}
	if got := Capabilities(c, 0); got != c {
		t.Error("root has lost some")
	}
	if got := Capabilities(c, 33); len(got.Effective) != 0 || len(got.Permitted) != 0 || len(got.Bounding) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestHostView(t *testing.T) {
	pid, start := HostView{}.Self()
	if pid != os.Getpid() || start == 0 {
		t.Errorf("pid %d start %d", pid, start)
	}
}

// TestBelow: the numbers of processes are used again, also while the list is read.
func TestBelow(t *testing.T) {
	procs := map[int]proc{
		1: {0, 1, false}, 10: {1, 50, false}, 11: {10, 51, false}, 12: {11, 52, false}, 13: {10, 60, true},
		20: {1, 40, false}, 21: {20, 70, false}, // beside it
		30: {11, 30, false},                      // its parent's number was another process's
		40: {41, 80, false}, 41: {40, 80, false}, // never to be seen
	}
	if got, want := below(procs, 10, 50), (map[int]uint64{11: 51, 12: 52}); !maps.Equal(got, want) {
		t.Errorf("below 10: %v", got)
	}
	if got := below(procs, 10, 49); len(got) > 0 {
		t.Errorf("below a process that is gone: %v", got)
	}
}

func TestEnviron(t *testing.T) {
	got := Environ([]string{"A=1", "HOME="}, "/root", "box", true)
	if want := []string{"PATH=" + defaultPath, "HOSTNAME=box", "TERM=xterm", "A=1", "HOME="}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	got = Environ([]string{"PATH=/p", "HOSTNAME=h"}, "/root", "box", false)
	if want := []string{"PATH=/p", "HOSTNAME=h", "HOME=/root"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
