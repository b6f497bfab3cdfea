// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"strings"
	"testing"
)

func TestLogTail(t *testing.T) {
	var l logTail
	for i := range 10_000 {
		_, _ = fmt.Fprintf(&l, "line %d\n", i)
	}
	if got := l.lastLine(); got != "line 9999" || len(l.text) > 4<<10 || cap(l.text) > 16<<10 {
		t.Errorf("%q, %d of %d bytes", got, len(l.text), cap(l.text))
	}
	if n, err := l.Write([]byte(strings.Repeat("x", 1<<20))); n != 1<<20 || err != nil || len(l.text) > 4<<10 {
		t.Errorf("%d bytes written, %v, %d kept", n, err, len(l.text))
	}
	if got := (&logTail{}).lastLine(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}
