// SPDX-License-Identifier: Apache-2.0

package volume

// The durable steps of a copy-up.
const (
	FailpointCopying = "volume.copying" // the copy is begun beside the volume
	FailpointCopied  = "volume.copied"  // the copy is complete, nothing of it is in the volume
	FailpointMoving  = "volume.moving"  // an entry of the copy is in the volume, others may not be
)
