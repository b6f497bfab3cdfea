// SPDX-License-Identifier: Apache-2.0

package imagename

import (
	"strings"

	"go.podman.io/image/v5/docker/reference"
)

// ContainersStorage is the transport of stores such as podman's: it and Proa
// each have their own, made by the same library.
//
//	containers-storage:[DRIVER@GRAPHROOT+RUNROOT:OPTIONS]IMAGE
//
// Everything in the brackets may be omitted: storage.conf says it then, which
// is where podman of the same user has its images.
const ContainersStorage = "containers-storage"

// CutTransport takes TRANSPORT: off a reference; ok is false where there is none.
func CutTransport(ref string) (transport, rest string, ok bool) {
	t, rest, ok := strings.Cut(ref, ":")
	if !ok {
		return "", "", false
	}
	switch t {
	case "docker":
		return t, rest, strings.HasPrefix(rest, "//")
	case ContainersStorage:
		return t, rest, true
	case "oci", "oci-archive", "docker-archive", "dir":
		// "oci:1.0" could be a name with a tag: a path is told by its first
		// character.
		return t, rest, strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, ".") || strings.Contains(rest, "/")
	}
	return "", "", false
}

// ParseRemote is Parse for a name at a registry, with or without docker://.
func ParseRemote(name string) (reference.Named, error) {
	return Parse(strings.TrimPrefix(name, "docker://"))
}
