// SPDX-License-Identifier: Apache-2.0

package artifact

import "github.com/proa-containers/proa/pkg/failpoint"

// Places where a test can break a writing call.
const (
	FailpointArtifactBlobs   = "storage.artifact.blobs"   // all files are there, no name leads to them
	FailpointArtifactIndexed = "storage.artifact.indexed" // the name is there
)

func hit(name string) error { return failpoint.Hit(name) }
