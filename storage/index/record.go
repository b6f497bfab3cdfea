// SPDX-License-Identifier: Apache-2.0

package index

import (
	"slices"
	"time"
)

// imageRecord is what we read of one element of the store's images.json.
type imageRecord struct {
	ID             string            `json:"id"`
	Names          []string          `json:"names"`
	NamesHistory   []string          `json:"names-history"`
	TopLayer       string            `json:"layer"`
	Metadata       string            `json:"metadata"`
	BigDataNames   []string          `json:"big-data-names"`
	BigDataDigests map[string]string `json:"big-data-digests"`
	Created        time.Time         `json:"created"`
	Flags          map[string]any    `json:"flags"`
}

// Layer is what we read of one element of layers.json.
type Layer struct {
	ID       string         `json:"id"`
	Parent   string         `json:"parent"`
	DiffID   string         `json:"diff-digest"`
	DiffSize int64          `json:"diff-size"`
	Flags    map[string]any `json:"flags"`
	Created  time.Time      `json:"created"`
}

// Metadata is the store's free text for each image. containers/image keeps its
// signature sizes there; ours stand beside them.
type Metadata struct {
	SignatureSizes []int `json:"signature-sizes,omitempty"`
	// RepoDigests are the names by digest under which the image was pulled or
	// pushed. A local tag is none.
	RepoDigests []string `json:"proa-repo-digests,omitempty"`
	Parent      string   `json:"proa-parent,omitempty"`
	// Intermediate marks a step of a build that only the cache knows.
	Intermediate bool `json:"proa-intermediate,omitempty"`
	// PulledAs is the name that a build asked for, for another platform: the
	// name itself stays with the host's image.
	PulledAs string `json:"proa-pulled-as,omitempty"`
}

// FlagPending marks an image that is created without its name, which follows in
// a second step: still without any name, it is what a killed command left.
const FlagPending = "proa-pending"

func (r *imageRecord) complete() bool {
	return Complete(r.Names, r.NamesHistory, r.BigDataNames, r.Flags)
}

// Complete says whether the last step of an image's making was done, by what the
// store knows of it.
func Complete(names, former, bigData []string, flags map[string]any) bool {
	if !slices.Contains(bigData, "manifest") {
		return false
	}
	return flags[FlagPending] == nil || len(names) > 0 || len(former) > 0
}

// FlagLayer marks which kind of command made a layer.
const (
	FlagLayer  = "proa-layer"
	LayerImage = "image" // belongs to images only: without one it is debris
	LayerBuild = "build" // the build cache may know it
)
