// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"runtime"
	"slices"
	"strings"
)

// The systems and architectures that Go, and so the names of images' platforms, knows
// (go tool dist list).
var (
	systems = strings.Fields("aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris wasip1 windows")
	archs   = strings.Fields("386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm")
)

// ParsePlatform is ParseAnyPlatform for containers: they run on Linux alone.
func ParsePlatform(value string) (string, error) {
	p, err := ParseAnyPlatform(value)
	if err == nil && !strings.HasPrefix(p, "linux/") {
		return "", unsupported("pull an image for linux", "platform %q: only linux containers run here", value)
	}
	return p, err
}

// ParseAnyPlatform checks OS/ARCH[/VARIANT], or one of OS and ARCH, and puts the names
// into Go's form. As for Docker arm is arm/v7, and arm64/v8 and amd64/v1 need no variant.
func ParseAnyPlatform(value string) (string, error) {
	const hint = "write linux/amd64 or linux/arm64/v8"
	parts := strings.Split(strings.ToLower(value), "/")
	for _, p := range parts {
		if p == "" || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			return "", invalid(hint, "%q is an invalid OS or platform component", value)
		}
	}
	if len(parts) > 3 {
		return "", invalid(hint, "%q: cannot parse platform specifier", value)
	}
	if len(parts) == 1 {
		if slices.Contains(systems, parts[0]) {
			return parts[0] + "/" + runtime.GOARCH, nil
		}
		if arch, _ := architecture(parts[0], ""); !slices.Contains(archs, arch) {
			return "", invalid(hint, "%q: unknown operating system or architecture", value)
		}
		parts = append([]string{"linux"}, parts...)
	}
	if parts[0] == "macos" {
		parts[0] = "darwin"
	}
	arch, variant := architecture(parts[1], strings.Join(parts[2:], ""))
	return strings.TrimSuffix(parts[0]+"/"+arch+"/"+variant, "/"), nil
}

// architecture is one in Go's form, with its variant.
func architecture(arch, variant string) (string, string) {
	switch arch {
	case "x86_64", "x86-64":
		arch = "amd64"
	case "aarch64":
		arch = "arm64"
	case "armhf":
		arch, variant = "arm", "v7"
	case "armel":
		arch, variant = "arm", "v6"
	case "i386", "i686":
		arch = "386"
	}
	switch {
	case arch == "arm" && variant == "":
		variant = "v7"
	case arch == "arm" && len(variant) == 1, arch == "arm64" && len(variant) == 1:
		variant = "v" + variant
	}
	if arch == "amd64" && variant == "v1" || arch == "arm64" && variant == "v8" {
		variant = ""
	}
	return arch, variant
}

// HostPlatform is the os/arch[/variant] of this machine.
func HostPlatform() string {
	arch, variant := architecture(runtime.GOARCH, "")
	return strings.TrimSuffix("linux/"+arch+"/"+variant, "/")
}

// VariantServes says whether an image for one variant of an architecture does for
// another one: "" is any, and arm runs the programs of older ones.
func VariantServes(arch, have, want string) bool {
	return have == want || want == "" || have == "" || arch == "arm" && have < want
}
