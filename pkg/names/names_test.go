// SPDX-License-Identifier: Apache-2.0

package names

import (
	"regexp"
	"testing"
)

func TestRandom(t *testing.T) {
	first := regexp.MustCompile(`^[a-z]+_[a-z]+$`)
	later := regexp.MustCompile(`^[a-z]+_[a-z]+[0-9]+$`)
	seen := map[string]bool{}
	for range 500 {
		n := Random(0)
		if !first.MatchString(n) {
			t.Fatalf("name %q", n)
		}
		seen[n] = true
		if n := Random(5); !later.MatchString(n) {
			t.Fatalf("name %q", n)
		}
	}
	if len(seen) < 400 {
		t.Errorf("only %d names in 500 tries", len(seen))
	}
}
