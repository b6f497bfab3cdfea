// SPDX-License-Identifier: Apache-2.0

package manifestlist

import (
	"slices"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
)

func samePlatform(a, b *imgspec.Platform) bool {
	return a != nil && b != nil && a.OS == b.OS && a.Architecture == b.Architecture && a.Variant == b.Variant
}

// Choose is the entry for a platform, nil where there is none. It prefers the
// one with the very variant.
func Choose(ix *imgspec.Index, osName, arch, variant string) *imgspec.Descriptor {
	var found *imgspec.Descriptor
	for i := range ix.Manifests {
		d := &ix.Manifests[i]
		if d.Platform == nil || d.Platform.OS != osName || d.Platform.Architecture != arch {
			continue
		}
		if d.Platform.Variant == variant {
			return d
		}
		if found == nil && (variant == "" || d.Platform.Variant == "") {
			found = d
		}
	}
	return found
}

// Platforms are the platforms that Linux images of a list are for, each once.
func Platforms(entries []imgspec.Descriptor) []string {
	var out []string
	for _, d := range entries {
		// An attestation beside the images has the platform unknown/unknown.
		if d.Platform == nil || d.Platform.OS != "linux" || d.Platform.Architecture == "unknown" {
			continue
		}
		if p := PlatformName(*d.Platform); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// PlatformName is os/arch[/variant].
func PlatformName(p imgspec.Platform) string {
	name := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return name
}
