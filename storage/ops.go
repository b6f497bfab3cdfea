// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"go.podman.io/storage"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/ballast"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
	"github.com/proa-containers/proa/pkg/rmtree"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/registry"
)

// Every writing call holds a locked file in ops/ for as long as it lasts. A
// file there that nobody has locked was left by a killed command: its debris is
// then cleared away by the next writing call that is alone. A pull clears at
// its end instead of its beginning, so that it can use the layers which a
// killed pull of the same image had finished.
type op struct {
	s     *Store
	store storage.Store
	file  *os.File
	late  bool
	wrote bool // with late: layers are in the store
}

// begin opens the store for one writing call; the caller ends it.
func (s *Store) begin(clearLate bool) (*op, error) {
	for _, d := range []string{s.root, s.opsDir(), s.tmpDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, &errs.Error{Op: "create directory", Object: d, Err: err}
		}
	}
	unlock, err := s.lockFile("ops/lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := os.CreateTemp(s.opsDir(), "op-")
	if err != nil {
		return nil, err
	}
	o := &op{s: s, file: f, late: clearLate}
	if err := filelock.Flock(f, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		o.forget()
		return nil, err
	}
	if stale, _ := s.staleOps(o.own()); len(stale) > 0 {
		if err := s.dropEmptyNames(); err != nil {
			o.forget()
			return nil, err
		}
	}
	if o.store, err = s.open(); err != nil {
		o.forget()
		return nil, err
	}
	err = s.dropPins(o.store)
	if err == nil && !clearLate {
		err = o.clear()
	}
	if err != nil {
		o.forget()
		return nil, err
	}
	return o, nil
}

func (o *op) forget() {
	_ = os.Remove(o.file.Name())
	o.file.Close()
	o.file = nil
}

// end writes the index and ends the call. It passes err through.
func (o *op) end(err *error) {
	if o.file == nil {
		return
	}
	if o.late {
		o.endLate(err)
	} else {
		o.forget()
	}
	if o.s.UpToDate() {
		return
	}
	// On a full disk readers derive the index for themselves.
	if ierr := o.s.Refresh(); ierr != nil && *err == nil && !ballast.Full(ierr) {
		*err = ierr
	}
}

// makeRoom is the first thing that a call does which removes something: on a full
// disk the library could not write its lists anew. A call that adds does not.
func (s *Store) makeRoom() { ballast.MakeRoom(filepath.Dir(s.root)) }

// endLate clears up behind a call that could use what a killed one had left. What
// a failed call brought in goes as well, unless it was the network's fault: the
// same call will then come again.
func (o *op) endLate(err *error) {
	unlock, lerr := o.s.lockFile("ops/lock")
	if lerr != nil {
		o.forget()
		return
	}
	defer unlock()
	if *err == nil || !o.wrote {
		o.forget()
	} else {
		o.file.Close() // counts as killed from here on
		o.file = nil
	}
	if !registry.Transient(*err) && !errs.Is(*err, errs.Unavailable) {
		if cerr := o.clear(); cerr != nil && *err == nil {
			*err = cerr
		}
	}
}

func (s *Store) opsDir() string { return filepath.Join(s.root, "ops") }

// lockFile waits for an exclusive lock below the root of the store.
func (s *Store) lockFile(name string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.root, name), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.Flock(f, syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// own is the file of a call that goes on.
func (o *op) own() string {
	if o.file == nil {
		return ""
	}
	return o.file.Name()
}

// clear removes what killed commands left, if no other one is at work. The
// caller holds ops/lock, so that none can begin meanwhile.
func (o *op) clear() error {
	stale, busy := o.s.staleOps(o.own())
	if len(stale) == 0 || busy {
		return nil
	}
	if err := o.s.removeDebris(o.store); err != nil {
		return errs.Wrap(err, "clear away what a killed command left in", o.s.root)
	}
	for _, f := range stale {
		_ = os.Remove(f)
	}
	return nil
}

func (s *Store) staleOps(own string) (stale []string, busy bool) {
	ents, _ := os.ReadDir(s.opsDir())
	for _, e := range ents {
		if !strings.HasPrefix(e.Name(), "op-") {
			continue
		}
		p := filepath.Join(s.opsDir(), e.Name())
		if p == own {
			continue
		}
		f, err := os.OpenFile(p, os.O_RDWR|syscall.O_CLOEXEC, 0)
		if err != nil {
			continue // ended just now
		}
		if filelock.Flock(f, syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			stale = append(stale, p)
		} else {
			busy = true
		}
		f.Close()
	}
	return stale, busy
}

// removeDebris deletes half images, layers of images that were never created,
// and temporary files.
func (s *Store) removeDebris(st storage.Store) error {
	images, err := st.Images()
	if err != nil {
		return err
	}
	for _, i := range images {
		if i.Flags[flagPin] == nil && !index.Complete(i.Names, i.NamesHistory, i.BigDataNames, i.Flags) {
			if _, err := s.deleteImage(st, i.ID); err != nil {
				return err
			}
		}
	}
	if err := s.removeOrphans(st); err != nil {
		return err
	}
	if err := st.GarbageCollect(); err != nil {
		return err
	}
	for _, pattern := range []string{
		filepath.Join(s.Home(), "compat*"),           // a test of what overlay can do
		filepath.Join(s.root, "overlay-*", ".tmp-*"), // records that were being replaced
		filepath.Join(s.root, "overlay-*", "*", ".tmp-*"),
	} {
		left, _ := filepath.Glob(pattern)
		for _, f := range left {
			_ = rmtree.Remove(f)
		}
	}
	if err := s.removeDangling(); err != nil {
		return err
	}
	for _, d := range []string{s.tmpDir(), filepath.Join(s.Home(), "staging")} {
		if err := emptyDir(d); err != nil {
			return err
		}
	}
	return nil
}

// removeOrphans deletes the layers of images that no image has. What a build
// made is the build cache's business.
func (s *Store) removeOrphans(st storage.Store) error {
	layers, err := st.Layers()
	if err != nil {
		return err
	}
	images, err := st.Images()
	if err != nil {
		return err
	}
	byID := map[string]*storage.Layer{}
	for i := range layers {
		byID[layers[i].ID] = &layers[i]
	}
	keep := map[string]bool{}
	mark := func(id string) {
		for id != "" && !keep[id] {
			keep[id] = true
			if l := byID[id]; l != nil {
				id = l.Parent
			} else {
				id = ""
			}
		}
	}
	for _, i := range images {
		mark(i.TopLayer)
	}
	for _, l := range layers {
		if l.Flags[index.FlagLayer] != index.LayerImage {
			mark(l.ID)
		}
	}
	_, err = s.deleteLayers(context.Background(), st, layers, keep)
	return err
}

// deleteLayers deletes all layers but those to keep, children first, and returns the
// bytes given back (unpacked). One that another command has begun to need since
// they were listed stays, with those below it.
func (s *Store) deleteLayers(ctx context.Context, st storage.Store, layers []storage.Layer, keep map[string]bool) (size int64, err error) {
	children := map[string]int{}
	for _, l := range layers {
		children[l.Parent]++
	}
	for again := true; again; {
		again = false
		for _, l := range layers {
			if keep[l.ID] || children[l.ID] > 0 {
				continue
			}
			if err := ctx.Err(); err != nil {
				return size, err
			}
			keep[l.ID] = true
			switch err := s.deleteLayer(st, l.ID); {
			case err == nil:
				size += l.UncompressedSize
			case needed(err):
				continue
			case !errors.Is(err, storage.ErrNotALayer) && !errors.Is(err, storage.ErrLayerUnknown) && !notExist(err):
				return size, err
			}
			children[l.Parent]--
			again = true
		}
	}
	return size, nil
}

// needed says whether err is the refusal to delete a layer that something stands on.
func needed(err error) bool {
	return errors.Is(err, storage.ErrLayerHasChildren) || errors.Is(err, storage.ErrLayerUsedByImage)
}

func emptyDir(dir string) error {
	ents, err := os.ReadDir(dir)
	if notExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range ents {
		p := filepath.Join(dir, e.Name())
		// A killed build may have left mounts, if its namespace lives on.
		_ = unix.Unmount(filepath.Join(p, "merged"), unix.MNT_DETACH)
		_ = unix.Unmount(p, unix.MNT_DETACH)
		if err := rmtree.Remove(p); err != nil {
			return err
		}
	}
	return nil
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
