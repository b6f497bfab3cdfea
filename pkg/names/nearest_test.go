// SPDX-License-Identifier: Apache-2.0

package names

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"run", "push", "wait", "images", "db", "alpine", "no-cache", "name"}
	for name, want := range map[string]string{
		"rn": "run", "psuh": "push", "iamges": "images", "imgaess": "images", "alpin": "alpine",
		"no-chache": "no-cache", "nmae": "name",
		"sh": "", "quit": "", "xy": "", "run": "", "a": "", "": "", "entirely": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
