// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/blob"
)

// bounded is a reference that the library may copy from, whoever serves it: it
// writes a blob to its end before it looks at what came, and asks any address
// that a manifest names.
//
// The signature policy is asked here, of the source itself: signatures of all
// kinds pass only between the library's own types. Whoever copies from bounded
// needs no other policy, and gets no signatures.
type bounded struct {
	types.ImageReference
	policy *signature.PolicyContext
	what   string // is copied: for messages
}

func (b bounded) NewImageSource(ctx context.Context, sys *types.SystemContext) (types.ImageSource, error) {
	src, err := b.ImageReference.NewImageSource(ctx, sys)
	if err != nil {
		return nil, err
	}
	return boundedSource{ownBlobs{src}, b}, nil
}

type boundedSource struct {
	ownBlobs
	from bounded
}

func (s boundedSource) GetManifest(ctx context.Context, instance *digest.Digest) ([]byte, string, error) {
	unparsed := image.UnparsedInstance(s.ImageSource, instance)
	raw, mime, err := unparsed.Manifest(ctx)
	if err != nil {
		return nil, "", err
	}
	if _, err := blob.ManifestDigest(raw); err != nil {
		return nil, "", err
	}
	// Of a list it is asked about the image that is chosen.
	if !manifest.MIMETypeIsMultiImage(mime) {
		if ok, err := s.from.policy.IsRunningImageAllowed(ctx, unparsed); !ok {
			return nil, "", denyByPolicy(s.from.what, err)
		}
	}
	return raw, mime, nil
}

func (boundedSource) GetSignatures(context.Context, *digest.Digest) ([][]byte, error) {
	return nil, nil
}

// GetBlob ends with an error after as many bytes as the manifest says.
func (s boundedSource) GetBlob(ctx context.Context, info types.BlobInfo, cache types.BlobInfoCache) (io.ReadCloser, int64, error) {
	if info.Size < 0 {
		return nil, -1, errs.New(errs.Corrupt, "the manifest does not say how long blob %s is", info.Digest)
	}
	rc, _, err := s.ownBlobs.GetBlob(ctx, info, cache)
	if err != nil {
		return nil, -1, err
	}
	v, err := blob.NewVerifier(ctx, rc, info.Digest, info.Size, nil)
	if err != nil {
		rc.Close()
		return nil, -1, err
	}
	return struct {
		io.Reader
		io.Closer
	}{v, rc}, info.Size, nil
}
