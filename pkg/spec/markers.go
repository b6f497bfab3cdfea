// SPDX-License-Identifier: Apache-2.0

package spec

// Markers are the files by which a program can tell that it runs in a container:
// Docker's, podman's, and the list of mounts under its old name. Every start makes
// those that the image lacks; they belong into no image, no list of changes and no
// archive.
var Markers = []string{"/.dockerenv", "/run/.containerenv", MtabPath}

// MtabPath is a link to MtabTarget.
const (
	MtabPath   = "/etc/mtab"
	MtabTarget = "/proc/mounts"
)
