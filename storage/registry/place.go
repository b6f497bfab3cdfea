// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net"
	"strings"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/sysregistriesv2"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/shortname"
)

// Place is where registries.conf says that a namespace lies. The library asks
// that file for pulls only: without this, what is pulled from one registry would
// be pushed to another. Mirrors are for reading and do not count. The zero Place
// leaves names as they are.
type Place struct {
	reg *sysregistriesv2.Registry // nil: names are what they are
}

// PlaceOf finds the place of a repository, and makes sys fit for it: TLS as the
// file says, and the credentials that belong to the name where the place has
// none of its own. Kind Denied: registries.conf blocks the registry.
func PlaceOf(sys *types.SystemContext, named reference.Named) (*Place, error) {
	if err := shortname.CheckConf(); err != nil {
		return nil, err
	}
	reg, err := sysregistriesv2.FindRegistry(sys, named.Name())
	if err != nil {
		return nil, errs.Wrap(err, "read", "registries.conf")
	}
	if reg == nil {
		return &Place{}, trustLoopback(sys, named)
	}
	if reg.Blocked {
		return nil, errs.New(errs.Denied, "registry %s is blocked in registries.conf", reference.Domain(named))
	}
	p := &Place{reg}
	at := p.Of(named)
	if reference.Domain(at) == reference.Domain(named) {
		return p, nil
	}
	if reg.Insecure && sys.DockerInsecureSkipTLSVerify == types.OptionalBoolUndefined {
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolTrue
	}
	if sys.DockerAuthConfig == nil {
		if own, err := knownCredentials(sys, at.Name()); err == nil && own == (types.DockerAuthConfig{}) {
			if a, err := knownCredentials(sys, named.Name()); err == nil && a.Username != "" {
				sys.DockerAuthConfig = &a
			}
		}
	}
	return p, nil
}

// trustLoopback accepts any certificate, and HTTP, from a registry on loopback that
// registries.conf does not name, as Docker does: the library tries HTTPS first. The caller's
// own choice wins, and with certificates from the caller the registry's is verified.
func trustLoopback(sys *types.SystemContext, named reference.Named) error {
	asked := sys.DockerInsecureSkipTLSVerify != types.OptionalBoolUndefined || sys.DockerCertPath != ""
	if asked || !onLoopback(reference.Domain(named)) {
		return nil
	}
	reg, err := sysregistriesv2.FindRegistry(sys, named.Name())
	if err == nil && reg == nil {
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolTrue
	}
	return errs.Wrap(err, "read", "registries.conf")
}

// onLoopback reports whether only this machine reaches a registry, HOST or HOST:PORT.
func onLoopback(registry string) bool {
	host := registry
	if h, _, err := net.SplitHostPort(registry); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Of is the name at the place.
func (p *Place) Of(named reference.Named) reference.Named {
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
