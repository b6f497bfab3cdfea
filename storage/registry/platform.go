// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"runtime"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
)

// Platform is os/arch[/variant] as sys chooses it, else the host's.
func Platform(sys *types.SystemContext) string {
	arch, osName := sys.ArchitectureChoice, sys.OSChoice
	if arch == "" {
		arch = runtime.GOARCH
	}
	if osName == "" {
		osName = "linux"
	}
	p := osName + "/" + arch
	if sys.VariantChoice != "" {
		p += "/" + sys.VariantChoice
	}
	return p
}

// ChooseInstance is the image of a list that is for sys's platform. Kind NotFound:
// there is none.
func ChooseInstance(sys *types.SystemContext, list manifest.List) (digest.Digest, error) {
	d, err := list.ChooseInstance(sys)
	if err != nil {
		return "", errs.New(errs.NotFound, "no matching manifest for %s in the manifest list entries", Platform(sys))
	}
	return d, nil
}
