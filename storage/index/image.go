// SPDX-License-Identifier: Apache-2.0

package index

import (
	"time"

	"github.com/proa-containers/proa/pkg/spec"
)

// Summary is one image as lists show it.
type Summary struct {
	ID           string            `json:"id"`                    // hex digest of the configuration
	Names        []string          `json:"names,omitempty"`       // complete: docker.io/library/alpine:latest
	RepoDigests  []string          `json:"repoDigests,omitempty"` // docker.io/library/alpine@sha256:...
	Digest       string            `json:"digest,omitempty"`      // of the manifest: sha256:...
	Created      time.Time         `json:"created,omitzero"`
	Size         int64             `json:"size"` // bytes of all layers, unpacked
	Labels       map[string]string `json:"labels,omitempty"`
	Architecture string            `json:"architecture,omitempty"`
	OS           string            `json:"os,omitempty"`
	Variant      string            `json:"variant,omitempty"`
	List         bool              `json:"list,omitempty"`     // a manifest list, not an image
	TopLayer     string            `json:"topLayer,omitempty"` // id in the store; empty: no layers
	Parent       string            `json:"parent,omitempty"`   // id of the local image that it was made from
	Intermediate bool              `json:"intermediate,omitempty"`
	PulledAs     string            `json:"pulledAs,omitempty"`  // complete name under which a build fetched it for another platform
	Instances    []string          `json:"instances,omitempty"` // of a list: the ids of its images that are in the store
}

// Image is everything known about one image.
type Image struct {
	Summary
	Config    spec.ImageConfig `json:"config"`
	Author    string           `json:"author,omitempty"`
	Comment   string           `json:"comment,omitempty"`
	MediaType string           `json:"mediaType,omitempty"` // of the manifest
	DiffIDs   []string         `json:"diffIDs,omitempty"`   // of the layers, the lowest first
	History   []History        `json:"history,omitempty"`   // the oldest first
	// LayerSizes are the bytes of each layer, unpacked, the lowest first.
	LayerSizes []int64 `json:"layerSizes,omitempty"`
	// Lowers are the layers' directories relative to the overlay home, topmost
	// first (overlay only).
	Lowers []string `json:"lowers,omitempty"`
	// Layers are the ids of the layers in the store, topmost first.
	Layers []string `json:"layers,omitempty"`
	// RootMode is the permission of the image's root directory, 0 if unknown.
	RootMode uint32 `json:"rootMode,omitempty"`
}

// History is one step of an image's making.
type History struct {
	Created    time.Time `json:"created,omitzero"`
	CreatedBy  string    `json:"createdBy,omitempty"`
	Author     string    `json:"author,omitempty"`
	Comment    string    `json:"comment,omitempty"`
	EmptyLayer bool      `json:"emptyLayer,omitempty"`
	Size       int64     `json:"size,omitempty"` // bytes of its layer, unpacked
}
