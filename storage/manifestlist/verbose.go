// SPDX-License-Identifier: Apache-2.0

package manifestlist

import (
	"encoding/json"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"
)

// Verbose is one element of what docker manifest inspect -v prints.
type Verbose struct {
	Ref              string
	Descriptor       imgspec.Descriptor
	Raw              []byte
	SchemaV2Manifest json.RawMessage `json:",omitempty"`
	OCIManifest      json.RawMessage `json:",omitempty"`
}

// VerboseOf is the element for a manifest, raw, and what names it.
func VerboseOf(ref string, d imgspec.Descriptor, raw []byte) Verbose {
	v := Verbose{Ref: ref, Descriptor: d, Raw: raw}
	if d.MediaType == manifest.DockerV2Schema2MediaType {
		v.SchemaV2Manifest = raw
	} else {
		v.OCIManifest = raw
	}
	return v
}
