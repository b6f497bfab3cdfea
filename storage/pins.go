// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"go.podman.io/storage"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
)

// A build stands on the layers of its base images, and on layers that its cache
// knows and only another image has. It keeps a file ops/hold-* locked as long as it
// lives: the kernel gives the lock back when the build is killed. An image that is
// removed meanwhile leaves a pin: a record without a name or a manifest, which
// nobody lists, and which keeps the layers until no build is left. ops/pins says
// that there are some.

// flagPin marks the record of a pin.
const flagPin = "proa-pin"

func (s *Store) pinsFile() string { return filepath.Join(s.opsDir(), "pins") }

// HoldLayers keeps the layers of images from being removed with them, until
// release is called or the process ends. release removes what was kept, unless
// another build needs it.
func (s *Store) HoldLayers() (release func() error, err error) {
	if err := os.MkdirAll(s.opsDir(), 0o700); err != nil {
		return nil, errs.Wrap(err, "create directory", s.opsDir())
	}
	unlock, err := s.lockFile("ops/hold")
	if err != nil {
		return nil, err
	}
	defer unlock()
	s.held() // clears away what killed builds left
	f, err := os.CreateTemp(s.opsDir(), "hold-")
	if err != nil {
		return nil, err
	}
	if err := filelock.Flock(f, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = os.Remove(f.Name())
		f.Close()
		return nil, err
	}
	return func() (err error) {
		_ = os.Remove(f.Name())
		f.Close()
		if _, serr := os.Stat(s.pinsFile()); serr != nil {
			return nil
		}
		o, err := s.begin(false) // which removes pins
		if err == nil {
			o.end(&err)
		}
		return err
	}, nil
}

// held says whether a build lives. The caller has the lock ops/hold. Files of
// builds that were killed go.
func (s *Store) held() bool {
	ents, _ := os.ReadDir(s.opsDir())
	held := false
	for _, e := range ents {
		if !strings.HasPrefix(e.Name(), "hold-") {
			continue
		}
		p := filepath.Join(s.opsDir(), e.Name())
		f, err := os.OpenFile(p, os.O_RDWR|syscall.O_CLOEXEC, 0)
		if err != nil {
			continue // released just now
		}
		if filelock.Flock(f, syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.Remove(p)
		} else {
			held = true
		}
		f.Close()
	}
	return held
}

// deleteImage deletes an image with a topmost layer ("": none), and returns the ids of
// the layers that went with it: none while a build may stand on them.
func (o *op) deleteImage(id, top string) (layers []string, err error) {
	unlock, err := o.s.lockFile("ops/hold") // until the layers are gone no build begins to look
	if err != nil {
		return nil, err
	}
	defer unlock()
	if top != "" && o.s.held() {
		if err := os.WriteFile(o.s.pinsFile(), nil, 0o600); err != nil {
			return nil, err
		}
		_, err := o.store.CreateImage("", nil, top, "", &storage.ImageOptions{Flags: map[string]any{flagPin: true}})
		if err != nil {
			return nil, err
		}
	}
	return o.s.deleteImage(o.store, id)
}

// dropPins removes all pins with the layers that nobody else needs, once no build
// lives.
func (s *Store) dropPins(st storage.Store) error {
	if _, err := os.Stat(s.pinsFile()); err != nil {
		return nil
	}
	unlock, err := s.lockFile("ops/hold")
	if err != nil {
		return err
	}
	defer unlock()
	if s.held() {
		return nil
	}
	images, err := st.Images()
	if err != nil {
		return err
	}
	for _, i := range images {
		if i.Flags[flagPin] == nil {
			continue
		}
		if _, err := s.deleteImage(st, i.ID); err != nil {
			return err
		}
	}
	return os.Remove(s.pinsFile())
}
