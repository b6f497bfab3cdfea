// SPDX-License-Identifier: Apache-2.0

package fds

import "testing"

func TestShares(t *testing.T) {
	for _, x := range []struct{ limit, queries, ports int }{
		{10, 1, -57}, {256, 16, 144}, {1024, 64, 768}, {4096, 256, 3264}, {1 << 20, 256, 1<<20 - 64 - 768},
	} {
		if q, p := Queries(x.limit), ForPorts(x.limit); q != x.queries || p != x.ports {
			t.Errorf("of %d: %d queries, %d for ports; want %d, %d", x.limit, q, p, x.queries, x.ports)
		}
	}
	if Limit() < 3 {
		t.Error(Limit())
	}
}
