// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/manifest"

	"github.com/proa-containers/proa/pkg/errs"
)

// MaxManifest is how many bytes a manifest or an index may have: it comes into
// memory whole.
const MaxManifest = 4 << 20

// ManifestDigest is the digest of a manifest. Kind Invalid: it is too long.
func ManifestDigest(raw []byte) (digest.Digest, error) {
	if len(raw) > MaxManifest {
		return "", errs.New(errs.Invalid, "manifest has %d bytes; at most %d are accepted", len(raw), MaxManifest)
	}
	return manifest.Digest(raw)
}
