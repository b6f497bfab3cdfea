// SPDX-License-Identifier: Apache-2.0

// Package platforms compares the platform that somebody wants with the one that an image has.
package platforms

import (
	"runtime"
	"strings"

	"github.com/proa-containers/proa/pkg/spec"
)

// Split takes os/arch[/variant] apart, which spec.ParseAnyPlatform need not have
// seen: a lone word is an architecture, unless it is "linux".
func Split(platform string) (osName, arch, variant string) {
	f := strings.SplitN(platform, "/", 3)
	if len(f) == 1 {
		if platform == "linux" {
			return "linux", runtime.GOARCH, ""
		}
		return "linux", f[0], ""
	}
	osName, arch = f[0], f[1]
	switch arch {
	case "x86_64", "x86-64":
		arch = "amd64"
	case "aarch64":
		arch = "arm64"
	}
	if len(f) == 3 {
		variant = f[2]
	}
	return osName, arch, variant
}

// Serves says whether an image of a system, an architecture and a variant does
// where a platform is wanted: "" is any.
func Serves(platform, osName, arch, variant string) bool {
	if platform == "" {
		return true
	}
	wantOS, wantArch, wantVariant := Split(platform)
	return osName == wantOS && arch == wantArch && spec.VariantServes(arch, variant, wantVariant)
}
