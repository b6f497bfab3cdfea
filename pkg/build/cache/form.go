// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"encoding/json"
	"regexp"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/proa-containers/proa/pkg/errs"
)

// Layer identifies one read-only layer of the store together with all that lies
// below it.
type Layer struct {
	ID     string // of the store; empty: nothing (FROM scratch)
	DiffID string // sha256:... of its uncompressed tar
	Size   int64  // bytes of its content
}

// Spec is one --cache-from or --cache-to.
type Spec struct {
	Kind        Kind
	Name        string // of an artifact or image; of a repository (KindSteps)
	Dir, Tag    string // of an OCI directory, and the name in it (KindLocal)
	Max         bool   // the steps of all stages, not only those of the image
	IgnoreError bool   // an export that fails is a warning
	Text        string // as the user wrote it
}

// Kind says what form a cache outside of the store has.
type Kind string

// The kinds of caches.
const (
	KindRegistry Kind = "registry" // one artifact, or an image with an inline cache
	KindSteps    Kind = "steps"    // podman's: an artifact REPOSITORY:KEY for each step
	KindLocal    Kind = "local"
	KindInline   Kind = "inline" // in the image's manifest
)

// Ref is where the cache is as one artifact.
func (c Spec) Ref() Ref { return Ref{Name: c.Name, Dir: c.Dir, Tag: c.Tag} }

// The form of a cache: an OCI artifact whose configuration is a File, whose
// layers are those of the steps. An inline cache is a File too, as an
// annotation of the image's manifest; its blobs follow from the image.
const (
	ConfigType = "application/vnd.proa.buildcache.config.v1+json"
	Annotation = "io.github.proa-containers.buildcache.v1"
)

// File is the configuration of an exported cache.
type File struct {
	Version string `json:"version"` // of the keys
	Steps   []Step `json:"steps"`
}

// Step is one known step.
type Step struct {
	Key     string    `json:"key"`
	Empty   bool      `json:"empty,omitempty"`
	Command string    `json:"command"`
	Created time.Time `json:"created"`
	DiffID  string    `json:"diffID,omitempty"`
	Size    int64     `json:"size,omitempty"` // unpacked
	Blob    string    `json:"blob,omitempty"` // digest of the layer as it is transferred
	Content string    `json:"content,omitempty"`
}

// Ref names a build cache outside of the store.
type Ref struct {
	Name     string // REPOSITORY:TAG
	Dir, Tag string // or an OCI directory, and the name in it
}

// Blob is a layer as it is transferred.
type Blob struct {
	MediaType, Digest string
	Size              int64
}

// Item is an artifact or an image that was opened. It may be used by
// several goroutines.
type Item interface {
	// Config is the verified configuration, and its media type.
	Config() (mediaType string, text []byte)
	Annotation(name string) string
	Blobs() []Blob
	// Layer brings a blob in as a layer on parent. What it unpacks to must be
	// diffID.
	Layer(ctx context.Context, b Blob, diffID string, parent Layer) (Layer, error)
	Close() error
}

// Content is a layer to be put into a cache: of the store, or a blob of
// another item.
type Content struct {
	Layer Layer
	From  Item // nil: the store
	Blob  Blob // in From, or what the destination is known to have for Layer
}

// Known is a step with what its layer is made of.
type Known struct {
	Record
	Item Item
	Blob Blob
}

var stepKey = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ReadSteps takes an item apart. A step that does not fit together is left out:
// it is run again.
func ReadSteps(item Item) (map[string]*Known, error) {
	kind, text := item.Config()
	var blobOf func(st *Step) string
	if kind == ConfigType {
		blobOf = func(st *Step) string { return st.Blob }
	} else {
		var err error
		if blobOf, err = inlineBlobs(item, text); err != nil {
			return nil, err
		}
		text = []byte(item.Annotation(Annotation))
	}
	var f File
	if len(text) == 0 {
		return nil, errs.New(errs.Invalid, "it holds no build cache")
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, errs.New(errs.Corrupt, "it cannot be read: %v", err)
	}
	if f.Version != Version {
		return nil, errs.New(errs.Unsupported, "its keys are of version %q, those of this proa %q", f.Version, Version)
	}
	blobs := map[string]Blob{}
	for _, b := range item.Blobs() {
		blobs[b.Digest] = b
	}
	steps := map[string]*Known{}
	for i := range f.Steps {
		st := &f.Steps[i]
		known := &Known{Item: item, Record: Record{Empty: st.Empty, Command: st.Command, Created: st.Created, Content: st.Content}}
		if !st.Empty {
			known.Layer = Layer{DiffID: st.DiffID, Size: st.Size}
			known.Blob = blobs[blobOf(st)]
			if digest.Digest(st.DiffID).Validate() != nil || known.Blob.Digest == "" {
				continue
			}
		}
		if stepKey.MatchString(st.Key) {
			steps[st.Key] = known
		}
	}
	return steps, nil
}

// inlineBlobs maps what an image's layers unpack to to the layers themselves.
func inlineBlobs(item Item, config []byte) (func(*Step) string, error) {
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	blobs := item.Blobs()
	if err := json.Unmarshal(config, &c); err != nil || len(c.RootFS.DiffIDs) != len(blobs) {
		return nil, errs.New(errs.Invalid, "it is neither a build cache nor an image")
	}
	byDiff := map[string]string{}
	for i, d := range c.RootFS.DiffIDs {
		byDiff[d] = blobs[i].Digest
	}
	return func(st *Step) string { return byDiff[st.DiffID] }, nil
}
