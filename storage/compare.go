// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"errors"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/storage/pack"
)

// Tree is the files of an image or of a container.
type Tree struct {
	Image  string       // id; empty: of a container
	Rootfs *spec.Rootfs // of a container
}

func (s *Store) mountTree(t Tree) (dir string, release func() error, err error) {
	if t.Rootfs != nil {
		return s.MountView(*t.Rootfs, false)
	}
	return s.mountTemporary(func(dir string) (string, error) {
		img, err := s.Resolve(t.Image)
		if err != nil {
			return "", err
		}
		if img.List {
			return "", errs.New(errs.Invalid, "%s is a list of images for several platforms, not an image", t.Image)
		}
		r, err := s.mountReadOnly(s.TopLayer(img), dir)
		return r.Driver, err
	})
}

// Compare lists what is different in a tree from another one, by path.
func (s *Store) Compare(tree, base Tree) (list []pack.Change, err error) {
	dir, release, err := s.mountTree(tree)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	old, releaseOld, err := s.mountTree(base)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, releaseOld()) }()
	list, err = pack.Compare(dir, old)
	return list, errs.Wrap(err, "compare", dir)
}

// ImageChanges lists what an image's topmost layer changed of those below it.
func (s *Store) ImageChanges(img *Image) ([]pack.Change, error) {
	dirs := s.LayerDirs(img)
	if len(dirs) == 0 {
		return nil, nil
	}
	p, err := s.fuseProgram()
	if err != nil {
		return nil, err
	}
	return pack.Changes(dirs[0], dirs[1:], p != "")
}
