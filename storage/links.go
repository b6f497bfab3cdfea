// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"errors"
	"os"
	"path/filepath"
)

// The overlay driver gives each layer a short name, so that more of them fit into
// the options of one mount: ID/link holds it, and l/NAME is a symbolic link to
// ../ID/diff. What a kill between these steps leaves is put right here
// (adr/0016).

// dropEmptyNames removes the file of a short name that was made and not yet
// written. The library would take the empty name for the directory l itself, and
// delete all links with it when it clears the unfinished layer away. To be called
// before the library looks at the store.
func (s *Store) dropEmptyNames() error {
	layers, err := os.ReadDir(s.Home())
	if notExist(err) || len(layers) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	unlock, err := s.lockFile("ops/layers") // a layer that is being made right now
	if err != nil {
		return err
	}
	defer unlock()
	for _, l := range layers {
		p := filepath.Join(s.Home(), l.Name(), "link")
		if fi, err := os.Lstat(p); err == nil && fi.Size() == 0 {
			if err := os.Remove(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeDangling deletes links that no layer goes by: a kill between the two
// removals, or between the two creations, leaves them. The layer may have been
// made again since, under another short name.
func (s *Store) removeDangling() error {
	links, err := os.ReadDir(filepath.Join(s.Home(), "l"))
	if notExist(err) {
		return nil
	}
	for _, l := range links {
		p := filepath.Join(s.Home(), "l", l.Name())
		to, lerr := os.Readlink(p) // ../ID/diff
		if lerr != nil {
			continue
		}
		own, rerr := os.ReadFile(filepath.Join(s.Home(), "l", filepath.Dir(to), "link"))
		if notExist(rerr) || rerr == nil && string(own) != l.Name() {
			err = errors.Join(err, os.Remove(p))
		}
	}
	return err
}
