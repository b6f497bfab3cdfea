// SPDX-License-Identifier: Apache-2.0

package userns

import (
	"fmt"
	"os"
	"os/user"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/spec"
)

func TestParseSubids(t *testing.T) {
	const max = 1<<32 - 1
	for _, tc := range []struct {
		name, text string
		want       []Range
	}{
		{"name", "bob:1:2\nalice:100000:65536\n", []Range{{100000, 65536}}},
		{"number", "1000:100000:65536", []Range{{100000, 65536}}},
		{"both, in order", "alice:300000:10\n1000:200000:20\n", []Range{{300000, 10}, {200000, 20}}},
		{"comment, blanks", "# alice:1:2\n\n  alice:5:6  \n", []Range{{5, 6}}},
		{"prefix of the name", "alic:1:2\nalice2:3:4\n", nil},
		{"malformed", "alice\nalice:1\nalice:x:2\nalice:1:-2\nalice:1:2:3\n:1:2\n", nil},
		{"nothing", "alice:1:0\n", nil},
		{"to the end", "alice:4294901759:65536\n", []Range{{max - 65536, 65536}}},
		{"beyond the end", "alice:4294901760:65537\nalice:4294967296:1\n", nil},
	} {
		got, err := parseSubids(strings.NewReader(tc.text), "alice", 1000)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %v, %v, want %v", tc.name, got, err, tc.want)
		}
	}
}

func TestAssemble(t *testing.T) {
	m := func(in, out, n uint32) spec.IDMap { return spec.IDMap{Inside: in, Outside: out, Count: n} }
	for _, tc := range []struct {
		name string
		in   []Range
		want []spec.IDMap
	}{
		{"one", []Range{{100000, 65536}}, []spec.IDMap{m(0, 1000, 1), m(1, 100000, 65536)}},
		{"two", []Range{{500000, 10}, {100000, 20}}, []spec.IDMap{m(0, 1000, 1), m(1, 500000, 10), m(11, 100000, 20)}},
		{"adjacent", []Range{{100000, 10}, {100010, 5}}, []spec.IDMap{m(0, 1000, 1), m(1, 100000, 15)}},
		{"same twice", []Range{{100000, 10}, {100000, 10}}, []spec.IDMap{m(0, 1000, 1), m(1, 100000, 10)}},
		{"overlap", []Range{{100000, 10}, {100005, 10}}, []spec.IDMap{m(0, 1000, 1), m(1, 100000, 15)}},
		{"own id inside", []Range{{990, 20}}, []spec.IDMap{m(0, 1000, 1), m(1, 990, 10), m(11, 1001, 9)}},
		{"right after own id", []Range{{1001, 5}}, []spec.IDMap{m(0, 1000, 1), m(1, 1001, 5)}},
		{"everything", []Range{{0, 1<<32 - 1}}, []spec.IDMap{m(0, 1000, 1), m(1, 0, 1000), m(1001, 1001, 1<<32-1-1001)}},
	} {
		if got := assemble(1000, tc.in); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestAssembleKeepsTheKernelsLimit(t *testing.T) {
	var in []Range
	for i := range uint32(500) {
		in = append(in, Range{100000 + i*100, 10})
	}
	if got := len(assemble(1000, in)); got != maxMapLines {
		t.Errorf("%d lines, want %d", got, maxMapLines)
	}
}

func TestParseGetsubids(t *testing.T) {
	got := parseGetsubids("0: alice 100000 65536\n1: alice 300000 5\nerror\n")
	if want := []Range{{100000, 65536}, {300000, 5}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWarningNamesKeptGroups(t *testing.T) {
	for _, c := range []struct {
		warning string
		groups  []string
		want    string
	}{
		{"why; to fix it: how", nil, "why; to fix it: how"},
		{"why; to fix it: how", []string{"audio"}, "why; containers keep your group audio and the access that you have by it; to fix it: how"},
		{"why", []string{"audio", "4711"}, "why; containers keep your groups audio, 4711 and the access that you have by them"},
	} {
		if got := withGroups(c.warning, c.groups); got != c.want {
			t.Errorf("%q", got)
		}
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, gid := range append(groups, os.Getgid()) {
		name := fmt.Sprint(gid)
		if g, err := user.LookupGroupId(name); err == nil {
			name = g.Name
		}
		if slices.Contains(keptGroups(gid), name) {
			t.Errorf("the first group %s counts as a further one", name)
		}
		if slices.Contains(groups, gid) && !slices.Contains(keptGroups(-1), name) {
			t.Errorf("%s is missing in %q", name, keptGroups(-1))
		}
	}
}

func TestNoRangesWarningNamesTheFix(t *testing.T) {
	w := noRangesWarning(Subordinate{User: "alice"}, 165536)
	for _, want := range []string{"usermod --add-subuids 165536-231071 --add-subgids 165536-231071 alice", "alice:165536:65536", "/etc/subuid and /etc/subgid"} {
		if !strings.Contains(w, want) {
			t.Errorf("%q lacks %q", w, want)
		}
	}
	w = noRangesWarning(Subordinate{User: "alice", UIDs: []Range{{1, 2}}}, 165536)
	if strings.Contains(w, "--add-subuids") || !strings.Contains(w, "--add-subgids 165536-231071") {
		t.Errorf("%q should speak of /etc/subgid alone", w)
	}
}

// FuzzParseSubids: whatever stands in the file, the map is one that the kernel
// takes: ascending inside, no host id twice, own id first.
func FuzzParseSubids(f *testing.F) {
	f.Add("alice:100000:65536\n", uint32(1000))
	f.Add("alice:0:4294967295\n1000:5:5\n", uint32(7))
	f.Add("alice:1:1\nalice:3:1\nalice:2:1\n", uint32(2))
	f.Fuzz(func(t *testing.T, text string, own uint32) {
		ranges, err := parseSubids(strings.NewReader(text), "alice", 1000)
		if err != nil {
			return
		}
		next := uint64(0)
		seen := []spec.IDMap{}
		for _, m := range assemble(own, ranges) {
			if uint64(m.Inside) != next || m.Count == 0 {
				t.Fatalf("%+v does not continue at %d", m, next)
			}
			next += uint64(m.Count)
			for _, s := range seen {
				if uint64(m.Outside) < uint64(s.Outside)+uint64(s.Count) && uint64(s.Outside) < uint64(m.Outside)+uint64(m.Count) {
					t.Fatalf("%+v overlaps %+v", m, s)
				}
			}
			seen = append(seen, m)
		}
		if next > 1<<32-1 || seen[0].Outside != own {
			t.Fatalf("bad map %v", seen)
		}
	})
}
