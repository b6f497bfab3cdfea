// SPDX-License-Identifier: Apache-2.0

package output

import (
	"github.com/proa-containers/proa/libpod"
)

// ArtifactRow is one artifact as artifact ls shows it.
type ArtifactRow struct {
	Digest     string
	Repository string
	Size       string
	Tag        string
}

// ArtifactHeader holds the titles of the columns of artifact ls.
func ArtifactHeader() *ArtifactRow {
	return &ArtifactRow{Digest: "DIGEST", Repository: "REPOSITORY", Size: "SIZE", Tag: "TAG"}
}

// ArtifactColumns is the default table of artifact ls.
func ArtifactColumns() []string { return []string{"Repository", "Tag", "Digest", "Size"} }

// Artifact makes the row of one artifact.
func Artifact(a *libpod.Artifact, noTrunc bool) *ArtifactRow {
	r := &ArtifactRow{Digest: a.Digest.Encoded(), Size: Size(a.Size())}
	if !noTrunc {
		r.Digest = r.Digest[:12]
	}
	r.Repository, r.Tag = libpod.SplitName(a.Name)
	if r.Tag == "" {
		r.Tag = none
	}
	return r
}
