// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/spec"
)

// TestFilterTables wants the tables, which the manual prints, to name what is understood,
// in order.
func TestFilterTables(t *testing.T) {
	values := map[string]string{"exited": "3", "expose": "80/tcp", "publish": "80-90", "until": "24h", "opt": "a=b"}
	for name, list := range map[string][]spec.Option{"containers": ContainerFilters, "images": ImageFilters, "volumes": VolumeFilters} {
		if !slices.IsSortedFunc(list, func(a, b spec.Option) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("the filters of %s are not sorted: %s", name, spec.OptionNames(list))
		}
		for _, o := range list {
			given := slices.Clone(o.Values)
			if len(given) == 0 {
				given = []string{cmp.Or(values[o.Name], "x")}
			}
			for _, v := range given {
				var err error
				switch {
				case name == "containers":
					_, err = newFilter(map[string][]string{o.Name: {v}})
				case name == "images" && !slices.Contains([]string{"after", "before", "containers", "since"}, o.Name): // these look at the store
					_, err = new(Engine).imageCondition(o.Name, v, true)
				}
				if err != nil {
					t.Errorf("%s: %s=%s: %v", name, o.Name, v, err)
				}
			}
		}
	}
}
