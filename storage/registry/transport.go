// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strings"

	"go.podman.io/image/v5/directory"
	"go.podman.io/image/v5/docker"
	dockerarchive "go.podman.io/image/v5/docker/archive"
	ociarchive "go.podman.io/image/v5/oci/archive"
	ocilayout "go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
)

// ParseTransport reads TRANSPORT:REFERENCE. containers/image has a list of all
// its transports, but importing it links a Docker client and OpenTelemetry.
func ParseTransport(name string) (types.ImageReference, error) {
	t, rest, _ := strings.Cut(name, ":")
	switch t {
	case "docker":
		return docker.ParseReference(rest)
	case "oci":
		return ocilayout.ParseReference(rest)
	case "oci-archive":
		return ociarchive.ParseReference(rest)
	case "docker-archive":
		return dockerarchive.ParseReference(rest)
	case "dir":
		return directory.Transport.ParseReference(rest)
	}
	return nil, errs.New(errs.Unsupported, "unknown transport %q: docker, oci, oci-archive, docker-archive, dir and containers-storage are known", t)
}
