// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"fmt"
	"strings"

	"github.com/proa-containers/proa/pkg/build/files"
)

// COPY --link and ADD --link make a layer of the copied files alone. Its key
// names what is copied and not what it stands on, so a changed base costs no
// copying: the known layer is put on the new base (stage.place). No link of the
// layers below is followed, since they are not looked at.

// linkOwner turns the names of --chown into numbers: these are looked up in the
// layers below, all else of the copy does without them.
func (s *stage) linkOwner(ctx context.Context, j *copyJob) error {
	if strings.Trim(j.chown, "0123456789:") == "" {
		return nil
	}
	t, err := s.b.mountLayer(ctx, s.top)
	if err != nil {
		return err
	}
	defer t.Close() //nolint:errcheck // read-only, in the build's own namespace
	r, err := files.OpenRoot(t.Root)
	if err != nil {
		return err
	}
	defer r.Close()
	own, err := files.LookupOwner(r, j.chown)
	if err != nil {
		return err
	}
	j.chown = fmt.Sprintf("%d:%d", own.UID, own.GID)
	return nil
}
