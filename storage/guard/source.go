// SPDX-License-Identifier: Apache-2.0

package guard

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

// Source is a reference that the library may copy from, whoever serves it: it
// writes a blob to its end before it looks at what came, and asks any address
// that a manifest names.
//
// The signature policy is asked here, of the source itself: signatures of all
// kinds pass only between the library's own types. Whoever copies from Source
// needs no other policy, and gets no signatures.
type Source struct {
	types.ImageReference
	Policy *signature.PolicyContext
	What   string // is copied: for messages
}

// NewImageSource implements types.ImageReference.
func (b Source) NewImageSource(ctx context.Context, sys *types.SystemContext) (types.ImageSource, error) {
	src, err := b.ImageReference.NewImageSource(ctx, sys)
	if err != nil {
		return nil, err
	}
	return source{OwnBlobs{src}, b}, nil
}

type source struct {
	OwnBlobs
	from Source
}

func (s source) GetManifest(ctx context.Context, instance *digest.Digest) ([]byte, string, error) {
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
		if ok, err := s.from.Policy.IsRunningImageAllowed(ctx, unparsed); !ok {
			return nil, "", Deny(s.from.What, err)
		}
	}
	return raw, mime, nil
}

func (source) GetSignatures(context.Context, *digest.Digest) ([][]byte, error) {
	return nil, nil
}

// GetBlob ends with an error after as many bytes as the manifest says.
func (s source) GetBlob(ctx context.Context, info types.BlobInfo, cache types.BlobInfoCache) (io.ReadCloser, int64, error) {
	if info.Size < 0 {
		return nil, -1, errs.New(errs.Corrupt, "the manifest does not say how long blob %s is", info.Digest)
	}
	rc, _, err := s.OwnBlobs.GetBlob(ctx, info, cache)
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

// OwnBlobs is a source that asks nobody else for a blob, wherever a manifest
// says that it can be had.
type OwnBlobs struct{ types.ImageSource }

// GetBlob implements types.ImageSource.
func (s OwnBlobs) GetBlob(ctx context.Context, info types.BlobInfo, cache types.BlobInfoCache) (io.ReadCloser, int64, error) {
	info.URLs = nil
	return s.ImageSource.GetBlob(ctx, info, cache)
}
