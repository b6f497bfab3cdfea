// SPDX-License-Identifier: Apache-2.0

// Package document reads the documents of images that a store keeps: the type of a
// manifest, and which images a list names. It does without the image library, for
// commands that only read.
package document

import (
	"encoding/json"
	"strings"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The MIME types of Docker's documents.
const (
	DockerManifest      = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList          = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig        = "application/vnd.docker.container.image.v1+json"
	DockerSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	DockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// SourceAnnotation says, in an entry of a list that the store keeps, where the image
// lies: the id of an image of the store, or SourceAtRegistry and its name there.
const (
	SourceAnnotation = "proa.source"
	SourceAtRegistry = "docker://"
)

// MIMEType is the type of a manifest or list: the one that it names, else what its
// fields make likely. "": it is neither.
func MIMEType(raw []byte) string {
	var m struct {
		MediaType     string          `json:"mediaType"`
		SchemaVersion int             `json:"schemaVersion"`
		Signatures    json.RawMessage `json:"signatures"`
		Config        struct {
			MediaType string `json:"mediaType"`
		} `json:"config"`
		Manifests []imgspec.Descriptor `json:"manifests"`
	}
	if json.Unmarshal(raw, &m) != nil {
		return ""
	}
	switch m.MediaType {
	case DockerManifest, DockerList, imgspec.MediaTypeImageManifest, imgspec.MediaTypeImageIndex:
		return m.MediaType
	}
	switch m.SchemaVersion {
	case 1:
		if len(m.Signatures) > 0 && string(m.Signatures) != "null" {
			return DockerSchema1Signed
		}
		return DockerSchema1
	case 2:
		return untyped(m.Config.MediaType, len(m.Manifests) > 0)
	}
	return ""
}

// untyped is the type of a document of OCI that does not name it, which early ones
// did not have to.
func untyped(config string, list bool) string {
	switch {
	case config == imgspec.MediaTypeImageConfig:
		return imgspec.MediaTypeImageManifest
	case config == DockerConfig:
		return DockerManifest
	case list && config == "":
		return imgspec.MediaTypeImageIndex
	case list:
		return config // as the image library says
	}
	return imgspec.MediaTypeImageManifest // likely an artifact with a type of its own
}

// Source says where the image of an entry of a stored list lies: an image of the store
// by its id, or the name at a registry. The other one is empty.
func Source(d *imgspec.Descriptor) (id, remote string) {
	source := d.Annotations[SourceAnnotation]
	if remote, ok := strings.CutPrefix(source, SourceAtRegistry); ok {
		return "", remote
	}
	return source, ""
}

// Images are the ids of the images of the store that a list names. What is no
// list names none.
func Images(raw []byte) []string {
	var ix imgspec.Index
	if json.Unmarshal(raw, &ix) != nil {
		return nil
	}
	var ids []string
	for i := range ix.Manifests {
		if id, _ := Source(&ix.Manifests[i]); id != "" && !strings.Contains(id, "/") {
			ids = append(ids, id)
		}
	}
	return ids
}
