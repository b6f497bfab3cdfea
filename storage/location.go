// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/docker/config"
	"go.podman.io/image/v5/pkg/sysregistriesv2"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
)

// place is where registries.conf says that a namespace lies. The library asks
// that file for pulls only: without this, what is pulled from one registry would
// be pushed to another. Mirrors are for reading and do not count.
type place struct {
	sys *types.SystemContext
	reg *sysregistriesv2.Registry // nil: names are what they are
}

// placeOf finds the place of a repository, and makes sys fit for it: TLS as the
// file says, and the credentials that belong to the name where the place has
// none of its own.
func placeOf(sys *types.SystemContext, named reference.Named) (*place, error) {
	reg, err := sysregistriesv2.FindRegistry(sys, named.Name())
	if err != nil {
		return nil, errs.Wrap(err, "read", "registries.conf")
	}
	if reg == nil {
		return &place{sys: sys}, nil
	}
	if reg.Blocked {
		return nil, errs.New(errs.Denied, "registry %s is blocked in registries.conf", reference.Domain(named))
	}
	p := &place{sys, reg}
	at := p.of(named)
	if reference.Domain(at) == reference.Domain(named) {
		return p, nil
	}
	if reg.Insecure && sys.DockerInsecureSkipTLSVerify == types.OptionalBoolUndefined {
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolTrue
	}
	if sys.DockerAuthConfig == nil {
		if own, err := config.GetCredentialsForRef(sys, at); err == nil && own.Username == "" && own.IdentityToken == "" {
			if a, err := config.GetCredentialsForRef(sys, named); err == nil && a.Username != "" {
				sys.DockerAuthConfig = &a
			}
		}
	}
	return p, nil
}

// of is the name at the place.
func (p *place) of(named reference.Named) reference.Named {
	if p.reg == nil || p.reg.Location == "" {
		return named
	}
	plain := *p.reg
	plain.Mirrors = nil
	list, err := plain.PullSourcesFromReference(named)
	if err != nil || len(list) != 1 {
		return named // another prefix: not this place's
	}
	return list[0].Reference
}
