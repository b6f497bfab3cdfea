// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/types"
)

// OpenManifest reads the manifest or list that a name means at its registry, with
// its MIME type. The caller closes the source. The error is one of Explain.
func OpenManifest(ctx context.Context, sys *types.SystemContext, named reference.Named, ro RemoteOptions) (raw []byte, mime string, src types.ImageSource, err error) {
	ref, err := Source(sys, named)
	if err != nil {
		return nil, "", nil, err
	}
	err = ro.Retrying(ctx, func() error {
		return Within(ctx, func(ctx context.Context) error {
			if src, err = ref.NewImageSource(ctx, sys); err != nil {
				return err
			}
			if raw, mime, err = image.UnparsedInstance(src, nil).Manifest(ctx); err != nil {
				src.Close()
			}
			return err
		})
	})
	if err != nil {
		return nil, "", nil, Explain(err, named)
	}
	return raw, mime, src, nil
}
