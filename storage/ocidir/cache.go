// SPDX-License-Identifier: Apache-2.0

package ocidir

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
)

// Lock makes a directory for a build cache, keeps other writers out of
// it, and removes what a killed one left.
func Lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, errs.OfFile(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, errs.OfFile(err)
	}
	if err := filelock.Flock(f, syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	half, _ := filepath.Glob(filepath.Join(dir, "oci-put-blob*"))
	for _, h := range half {
		_ = os.Remove(h)
	}
	settle(dir)
	if err := keepIndex(dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		settle(dir)
		f.Close()
	}, nil
}

// keptIndex is the index of before, as long as somebody writes: the library
// truncates index.json and writes it anew, which a full disk or kill -9 may end in
// the middle.
const keptIndex = ".index.json.kept"

func keepIndex(dir string) error {
	text, err := indexText(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, keptIndex), text, 0o644, atomicfile.Volatile); err != nil {
		return errs.OfFile(err)
	}
	return nil
}

// settle brings back the index of before where a writer did not get to the end of
// its own. The caller holds the lock, or nobody writes.
func settle(dir string) {
	index, kept := filepath.Join(dir, imgspec.ImageIndexFile), filepath.Join(dir, keptIndex)
	if _, err := ReadIndex(dir); err == nil {
		_ = os.Remove(kept)
		return
	}
	if err := os.Rename(kept, index); err == nil {
		return
	}
	// The first writer's: there is nothing to go back to.
	if fi, err := os.Lstat(index); err == nil && fi.Mode().IsRegular() && fi.Size() == 0 {
		_ = os.Remove(index)
	}
}

// Reading reads the directory of a build cache with read. A writer replaces the
// index in place and removes blobs that the new one does not name, so what fails is
// read once more when no writer is there.
func Reading(ctx context.Context, dir string, read func() error) error {
	failure := read()
	if failure == nil {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return failure
	}
	defer f.Close()
	for {
		switch err := filelock.Flock(f, syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			settle(dir) // perhaps the writer was killed
			return read()
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return failure
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

// poll is how often a reader looks whether the writer is done: waiting for
// the lock itself would not end with the context.
const poll = 50 * time.Millisecond

// Tidy removes the blobs that no cache of the directory has any more:
// each export brings new ones, and nobody else would. A directory that holds
// anything but caches is left as it is.
func Tidy(dir, configType string) error {
	ix, err := ReadIndex(dir)
	if err != nil {
		return err
	}
	keep := map[digest.Digest]bool{}
	var named []imgspec.Descriptor
	for _, d := range ix.Manifests {
		if err := validate(d.Digest); err != nil {
			return err
		}
		raw, err := os.ReadFile(blobPath(dir, d.Digest))
		if err != nil {
			return err
		}
		var m imgspec.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return errs.New(errs.Corrupt, "cannot read a manifest of %s: %w", dir, err)
		}
		if m.Config.MediaType != configType {
			return nil
		}
		if d.Annotations[imgspec.AnnotationRefName] == "" {
			continue // was replaced, and is kept by the library without its name
		}
		named = append(named, d)
		keep[d.Digest], keep[m.Config.Digest] = true, true
		for _, l := range m.Layers {
			keep[l.Digest] = true
		}
	}
	if len(named) < len(ix.Manifests) {
		ix.Manifests = named
		if err := WriteIndex(dir, ix); err != nil {
			return err
		}
	}
	ents, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256"))
	if err != nil {
		return err
	}
	for _, e := range ents {
		if d := digest.NewDigestFromEncoded(digest.SHA256, e.Name()); !keep[d] {
			if err := os.Remove(blobPath(dir, d)); err != nil {
				return err
			}
		}
	}
	return nil
}
