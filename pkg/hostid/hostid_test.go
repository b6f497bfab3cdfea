// SPDX-License-Identifier: Apache-2.0

package hostid

import "testing"

func TestSame(t *testing.T) {
	n1 := Host{Boot: "b1", Machine: "m1", Name: "n1"}
	for _, tt := range []struct {
		name string
		o    Host
		want bool
	}{
		{"itself", n1, true},
		{"after a restart", Host{"b2", "m1", "n1"}, true},
		{"renamed while it runs", Host{"b1", "m1", "n9"}, true},
		{"renamed and restarted: nobody can tell it from a clone", Host{"b2", "m1", "n9"}, false},
		{"another host", Host{"b2", "m2", "n2"}, false},
		{"another host of the same name", Host{"b2", "m2", "n1"}, false},
		{"another root file system on the same kernel", Host{"b1", "m2", "n2"}, false},
	} {
		if got := n1.Same(tt.o); got != tt.want || tt.o.Same(n1) != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	bare := Host{Boot: "b1", Name: "n1"}
	if bare.Same(Host{Boot: "b1", Name: "n2"}) || !bare.Same(Host{Boot: "b2", Name: "n1"}) {
		t.Error("without a machine id the name decides")
	}
}

func TestSelf(t *testing.T) {
	h := Self()
	if h.Boot == "" || h.Name == "" || !h.Same(h) || !h.SameBoot(h) {
		t.Errorf("%+v", h)
	}
}
