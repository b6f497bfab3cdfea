// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/sysregistriesv2"
	"go.podman.io/image/v5/types"
	"go.podman.io/storage/pkg/configfile"
	"go.podman.io/storage/pkg/unshare"

	"github.com/proa-containers/proa/storage/conffile"
	"github.com/proa-containers/proa/storage/imagename"
)

// checkConf refuses a registries.conf that has gone missing: it may block
// registries and say where names lead.
func checkConf() error {
	return conffile.Check(&configfile.File{Name: "registries", Extension: "conf",
		EnvironmentName: "CONTAINERS_REGISTRIES_CONF", UserId: unshare.GetRootlessUID()})
}

// Candidates are the complete names that a name without a registry can
// stand for, the likeliest first: an alias of registries.conf alone, else its
// unqualified-search-registries, else docker.io as in Docker. Nobody is asked.
func Candidates(sys *types.SystemContext, name string) ([]reference.Named, error) {
	named, err := imagename.Parse(name)
	if err != nil {
		return nil, err
	}
	if err := checkConf(); err != nil {
		return nil, err
	}
	if !imagename.IsShort(name) {
		return []reference.Named{named}, nil
	}
	raw, err := reference.Parse(name)
	if err != nil {
		return nil, imagename.Bad(name, err)
	}
	short, ok := raw.(reference.Named)
	if !ok {
		return []reference.Named{named}, nil
	}
	alias, _, err := sysregistriesv2.ResolveShortNameAlias(sys, short.Name())
	if err != nil {
		return nil, err
	}
	if alias != nil {
		n, err := imagename.Parse(alias.Name() + suffix(named))
		return []reference.Named{n}, err
	}
	registries, err := sysregistriesv2.UnqualifiedSearchRegistries(sys)
	if err != nil {
		return nil, err
	}
	var out []reference.Named
	for _, r := range registries {
		n, err := imagename.Parse(r + "/" + short.Name() + suffix(named))
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	if out == nil {
		out = []reference.Named{named}
	}
	return out, nil
}

// suffix is the tag or digest of a name with its separator.
func suffix(n reference.Named) string {
	switch t := n.(type) {
	case reference.Digested:
		return "@" + t.Digest().String()
	case reference.Tagged:
		return ":" + t.Tag()
	}
	return ""
}
