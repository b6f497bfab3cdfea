// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
	"github.com/proa-containers/proa/storage"
)

// A build names the images that it starts from or copies from in a file of
// builds/ in the runtime directory, which it keeps locked as long as it lives: no
// other command removes them meanwhile. A file that nobody has locked belongs to
// a build that was killed.

func (e *Engine) buildsDir() string { return filepath.Join(e.dirs.Run, "builds") }

// holdImage keeps an image from being removed until ReleaseImages or the end of the
// process. Kind NotFound: it was removed just now.
func (e *Engine) holdImage(ctx context.Context, img *storage.Image) error {
	lock, err := e.lockImages(ctx, unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := e.images.Resolve(img.ID); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.held == nil {
		if _, err := e.heldImages(); err != nil { // clears away what killed builds left
			return err
		}
		if e.held, err = lockedFile(e.buildsDir()); err != nil {
			return errs.Wrap(err, "say which images the build needs in", e.buildsDir())
		}
	}
	_, err = e.held.WriteString(img.ID + "\n")
	return errs.Wrap(err, "write", e.held.name)
}

// HoldLayers keeps all layers that are here, also those of images that are removed
// meanwhile, until release is called or the process ends: the build cache may lead
// to any of them.
func (e *Engine) HoldLayers() (release func() error, err error) { return e.images.HoldLayers() }

// lockedFile makes a file that is locked before it has the name that others look
// for.
func lockedFile(dir string) (*heldFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "build-"+strings.TrimPrefix(filepath.Base(f.Name()), "new-"))
	err = filelock.Flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		f.Close()
		return nil, err
	}
	return &heldFile{f, name}, nil
}

// heldFile is a file that this process keeps locked.
type heldFile struct {
	*os.File
	name string // what it goes by now
}

// ReleaseImages allows again to remove the images that BaseImage returned.
func (e *Engine) ReleaseImages() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.held != nil {
		_ = os.Remove(e.held.name)
		e.held.Close()
		e.held = nil
	}
}

// heldByBuild says whether a running build needs an image.
func (e *Engine) heldByBuild(ctx context.Context, id string) (bool, error) {
	lock, err := e.lockImages(ctx, unix.LOCK_EX)
	if err != nil {
		return false, err
	}
	defer lock.Close()
	held, err := e.heldImages()
	return slices.Contains(held, id), err
}

// heldImages are the ids of the images that running builds need. To act on them
// the caller holds the lock of the images alone: no build can begin meanwhile.
func (e *Engine) heldImages() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(e.buildsDir(), "*"))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, p := range files {
		if fi, err := os.Lstat(p); err == nil && strings.HasPrefix(fi.Name(), "new-") && time.Since(fi.ModTime()) < time.Minute {
			continue // it is not yet locked, or its maker was killed
		}
		f, err := os.Open(p)
		if os.IsNotExist(err) {
			continue // done just now
		}
		if err != nil {
			return nil, err
		}
		if filelock.Flock(f, unix.LOCK_SH|unix.LOCK_NB) == nil {
			_ = os.Remove(p)
			f.Close()
			continue
		}
		f.Close()
		text, err := os.ReadFile(p)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		ids = append(ids, strings.Fields(string(text))...)
	}
	return ids, nil
}
