// SPDX-License-Identifier: Apache-2.0

package storage

import "github.com/proa-containers/proa/pkg/failpoint"

// Places where a test can break a writing call.
const (
	FailpointPullManifest = "storage.pull.manifest" // nothing written yet
	FailpointPullLayers   = "storage.pull.layers"   // all layers are committed, no image
	FailpointImageStored  = "storage.image.stored"  // the image has no name yet
	FailpointCacheBlob    = "storage.cache.blob"    // a build cache has one more layer where it goes
	FailpointListStored   = "storage.list.stored"   // the list has no name yet
	FailpointImageNamed   = "storage.image.named"   // the index is still the old one
)

func hit(name string) error { return failpoint.Hit(name) }
