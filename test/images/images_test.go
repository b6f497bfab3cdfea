// SPDX-License-Identifier: Apache-2.0

package images

import "testing"

func TestRepository(t *testing.T) {
	for _, ref := range Names() {
		path, tag := repository(ref)
		if path == "" || tag == "" {
			t.Errorf("%s: repository %q, tag %q", ref, path, tag)
		}
	}
}

func TestCatalogueUsesKnownTrees(t *testing.T) {
	known := map[string]bool{}
	for _, tr := range trees {
		known[tr.name] = true
	}
	for _, im := range catalogue {
		for _, l := range im.layers {
			if !known[l] {
				t.Errorf("%s: no tree %q", im.refs[0], l)
			}
		}
	}
}
