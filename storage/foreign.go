// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"

	cistorage "go.podman.io/image/v5/storage"
	"go.podman.io/image/v5/types"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/foreign"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/progress"
)

func (s *Store) own() foreign.Own { return foreign.Own{Root: s.root, Conf: s.userConf} }

// pullForeign copies an image out of another store of the same user.
func (s *Store) pullForeign(ctx context.Context, sys *types.SystemContext, rest string, o PullOptions) (img *Image, err error) {
	op, err := s.begin(false)
	if err != nil {
		return nil, err
	}
	defer op.end(&err)
	f, err := foreign.Parse(rest, s.own())
	if err != nil {
		return nil, err
	}
	st, done, err := f.Read(s.tmpDir())
	if err != nil {
		return nil, err
	}
	defer done()
	found, names, err := f.Find(st, sys)
	if err != nil {
		return nil, err
	}
	ref, err := cistorage.Transport.NewStoreReference(st, nil, found.ID)
	if err != nil {
		return nil, err
	}
	_, id, err := s.fetch(ctx, ref, sys, fetchOptions{tell: &progress.Teller{To: o.Progress}, names: names, remote: o.RemoteOptions, as: f.As(ref, names, found.ID)})
	if err != nil {
		return nil, errs.Wrap(err, "pull", f.Image)
	}
	return s.Resolve(id)
}

// writeForeign is where a push into another store goes. done ends it.
func (s *Store) writeForeign(rest string) (to types.ImageReference, done func(), err error) {
	f, err := foreign.Parse(rest, s.own())
	if err != nil {
		return nil, nil, err
	}
	named, err := imagename.Parse(f.Image)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Open()
	if err != nil {
		return nil, nil, err
	}
	to, err = cistorage.Transport.NewStoreReference(st, named, "")
	if err != nil {
		st.Free()
		return nil, nil, err
	}
	return to, func() {
		_, _ = st.Shutdown(false)
		st.Free()
	}, nil
}
