// SPDX-License-Identifier: Apache-2.0

package platforms

import (
	"runtime"
	"testing"
)

func TestServes(t *testing.T) {
	for _, c := range []struct {
		platform, osName, arch, variant string
		want                            bool
	}{
		{"", "linux", "s390x", "", true},
		{"arm64", "linux", "arm64", "v8", true},
		{"linux", "linux", runtime.GOARCH, "", true},
		{"linux/x86_64", "linux", "amd64", "", true},
		{"linux/aarch64", "linux", "arm64", "", true},
		{"linux/arm/v7", "linux", "arm", "v6", true},
		{"linux/arm/v6", "linux", "arm", "v7", false},
		{"linux/amd64", "linux", "arm64", "", false},
		{"windows/amd64", "linux", "amd64", "", false},
	} {
		if got := Serves(c.platform, c.osName, c.arch, c.variant); got != c.want {
			t.Errorf("%q for %s/%s/%s: %v", c.platform, c.osName, c.arch, c.variant, got)
		}
	}
}
