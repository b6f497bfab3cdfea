// SPDX-License-Identifier: Apache-2.0

package manifestlist

import (
	"maps"
	"slices"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/storage/document"
)

// Entry says what is different about one image of a list; empty fields stay as
// the image says.
type Entry struct {
	OS, Arch, Variant, OSVersion string
	OSFeatures                   []string
	Annotations                  map[string]string
}

// Apply changes d so.
func (e *Entry) Apply(d *imgspec.Descriptor) {
	if d.Platform == nil {
		d.Platform = &imgspec.Platform{}
	}
	set := func(to *string, v string) {
		if v != "" {
			*to = v
		}
	}
	set(&d.Platform.OS, e.OS)
	set(&d.Platform.Architecture, e.Arch)
	set(&d.Platform.Variant, e.Variant)
	set(&d.Platform.OSVersion, e.OSVersion)
	if len(e.OSFeatures) > 0 {
		d.Platform.OSFeatures = e.OSFeatures
	}
	if len(e.Annotations) > 0 && d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	maps.Copy(d.Annotations, e.Annotations)
}

// Put adds entries at the end, each in place of one with its digest.
func Put(ix *imgspec.Index, entries ...imgspec.Descriptor) {
	for _, d := range entries {
		ix.Manifests = slices.DeleteFunc(ix.Manifests, func(o imgspec.Descriptor) bool { return o.Digest == d.Digest })
		ix.Manifests = append(ix.Manifests, d)
	}
}

// Replace is Put for an image that was built again: the entry of the store for
// its platform goes too.
func Replace(ix *imgspec.Index, d imgspec.Descriptor) {
	ix.Manifests = slices.DeleteFunc(ix.Manifests, func(o imgspec.Descriptor) bool {
		return o.Annotations[document.SourceAnnotation] != "" && samePlatform(o.Platform, d.Platform)
	})
	Put(ix, d)
}

// Annotate adds annotations to the list itself.
func Annotate(ix *imgspec.Index, annotations map[string]string) {
	if len(annotations) > 0 && ix.Annotations == nil {
		ix.Annotations = map[string]string{}
	}
	maps.Copy(ix.Annotations, annotations)
}
