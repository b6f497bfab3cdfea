// SPDX-License-Identifier: Apache-2.0

package supervisor_test

import (
	"testing"
)

func TestRun(t *testing.T) {
	b, e := run(t, []string{"echo", "hello"}, remove)
	if e.Code != 0 || b.out.String() != "hello\n" {
		t.Fatalf("exit %+v out %q err %q", e, b.out.String(), b.err.String())
	}
	b.gone()
}
