// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"path/filepath"

	"go.podman.io/storage"

	"github.com/proa-containers/proa/pkg/rmtree"
)

// The library moves a layer into a directory of its own, saves that it is gone
// and only then deletes the files. Where directories are nested too deep for
// that (see rmtree), they would stay, and the library then refuses to open the
// store at all, for ever: a single image would take all others along.

// deleteLayer deletes a layer.
func (s *Store) deleteLayer(st storage.Store, id string) error {
	err := st.DeleteLayer(id)
	if rmtree.TooDeep(err) && !st.Exists(id) {
		return s.clearDeleted()
	}
	return err
}

// deleteImage deletes an image and returns the ids of the layers that went with
// it.
func (s *Store) deleteImage(st storage.Store, id string) (layers []string, err error) {
	layers, err = st.DeleteImage(id, true)
	if rmtree.TooDeep(err) && !st.Exists(id) {
		return layers, s.clearDeleted()
	}
	return layers, err
}

// clearDeleted removes the files of layers that the library has deleted but for
// these. Another process may be at the same.
func (s *Store) clearDeleted() error {
	dirs, err := filepath.Glob(filepath.Join(s.Home(), "tempdirs", "temp-dir-*", "[0-9]*-*"))
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if ok, _ := filepath.Match("[0-9]*-addition", filepath.Base(d)); ok {
			continue // to become a layer
		}
		if err := rmtree.Remove(d); err != nil {
			return err
		}
	}
	return nil
}
