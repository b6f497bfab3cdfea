// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"path"
	"strconv"
	"strings"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/copying"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/files"
)

// copyJob is one COPY or ADD.
type copyJob struct {
	copying.Sources
	from         string
	chown, chmod string
	link         bool
}

func (s *stage) runCopy(ctx context.Context, ref StepRef, j copyJob) error {
	mode, err := files.ParseMode(j.chmod)
	if err != nil {
		return err
	}
	if err := j.Check(); err != nil {
		return err
	}
	dest := s.destPath(j.Dest)
	from, err := s.b.sourceTree(ctx, j.from, s.plan)
	if err != nil {
		return err
	}
	j.Where = from.where
	below := s.key
	if j.link {
		below = "link"
		if err := s.linkOwner(ctx, &j); err != nil {
			return err
		}
	}
	// A checksum is checked where the files are fetched, which is before this: it does not
	// change what is copied.
	key := cache.NewKey(below, j.Name, dest, j.chown, j.chmod, strconv.FormatBool(j.link), strconv.FormatBool(j.Parents), jsonText(j.Exclude))
	r := &reading{b: s.b, from: from, what: &j.Sources}
	defer r.Close()
	if err := s.addContent(ctx, key, r); err != nil {
		return err
	}
	return s.doStep(ctx, ref, stepWork{
		key: key.Sum(), link: j.link, createdBy: j.Name + " " + strings.Join(append(j.Names(), dest), " "),
		work: func(sc engine.Scratch) error {
			items, err := r.find(ctx)
			if err != nil {
				return err
			}
			return s.writeItems(sc, j, from, items, dest, mode)
		},
	})
}

// destPath makes the destination absolute and keeps a trailing slash, which
// means "a directory".
func (s *stage) destPath(p string) string {
	slash := p == "" || strings.HasSuffix(p, "/") || p == "." || strings.HasSuffix(p, "/.")
	if !path.IsAbs(p) {
		p = path.Join("/", s.image.Config.WorkingDir, p)
	}
	p = path.Clean(p)
	if slash && p != "/" {
		p += "/"
	}
	return p
}

// writeItems puts the items into the layer.
func (s *stage) writeItems(sc engine.Scratch, j copyJob, from tree, items *copying.Items, dest string, mode *files.Mode) error {
	merged, err := sc.Merged()
	if err != nil {
		return err
	}
	owner, err := s.copyOwner(merged, j, from)
	if err != nil {
		return err
	}
	return items.Write(merged, copying.Target{Dest: dest, Owner: owner, Chown: j.chown != "", Mode: mode, Epoch: s.b.layerEpoch(), Now: *s.b.now()})
}

// copyOwner is who owns the copies: --chown, else root for the host's files,
// else (nil) whoever owned them in the stage.
func (s *stage) copyOwner(merged string, j copyJob, from tree) (*files.Owner, error) {
	if j.chown != "" {
		r, err := files.OpenRoot(merged)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		own, err := files.LookupOwner(r, j.chown)
		if err != nil {
			return nil, err
		}
		return &own, nil
	}
	if from.id == "" {
		return &files.Owner{}, nil
	}
	return nil, nil
}
