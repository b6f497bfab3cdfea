// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/storage/imagename"
)

// Source is where a name is read from: the library goes through mirrors itself.
// Credentials for it are in sys afterwards, which so is for this name alone.
func Source(sys *types.SystemContext, named reference.Named) (types.ImageReference, error) {
	ref, err := docker.NewReference(named)
	if err != nil {
		return nil, imagename.Bad(named.String(), err)
	}
	if err := trustLoopback(sys, named); err != nil {
		return nil, err
	}
	return ref, AddCredentials(sys, named)
}

// Target is the place that a name is written to: PlaceOf, with the credentials
// of Docker's places too.
func Target(sys *types.SystemContext, named reference.Named) (*Place, error) {
	p, err := PlaceOf(sys, named)
	if err != nil {
		return nil, err
	}
	return p, AddCredentials(sys, named)
}
