// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/ocidir"
	"github.com/proa-containers/proa/storage/progress"
)

// PullLayout brings an image of an OCI directory in, without a name and out of
// lists: DIRECTORY, DIRECTORY:TAG or DIRECTORY@DIGEST.
func (s *Store) PullLayout(ctx context.Context, where string, o PullOptions) (*Image, error) {
	ref, dir, err := ocidir.Find(where)
	if err != nil {
		return nil, err
	}
	sys, err := s.system(o.RemoteOptions, o.Platform)
	if err != nil {
		return nil, err
	}
	_, id, err := s.fetch(ctx, ref, sys, fetchOptions{tell: &progress.Teller{To: o.Progress}, aside: true, layout: dir})
	if err != nil {
		return nil, errs.Wrap(err, "read the OCI directory", where)
	}
	return s.Resolve(id)
}
