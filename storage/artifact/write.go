// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/ballast"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
)

// use is one call that needs the blobs to stay: it shares a lock that clearing
// away takes alone.
type use struct {
	s    *Store
	lock *os.File
	tmp  string // staging directory, only of writing calls
}

// begin starts a writing call and, if no other call is under way, clears away
// what killed ones left. The caller ends it.
func (s *Store) begin() (*use, error) {
	for _, d := range []string{s.dir, s.tmpDir(), filepath.Join(s.dir, imgspec.ImageBlobsDir, string(digest.SHA256))} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, &errs.Error{Op: "create directory", Object: d, Err: err}
		}
	}
	u, err := s.share()
	if err != nil {
		return nil, err
	}
	if err = u.clear(); err == nil {
		u.tmp, err = os.MkdirTemp(s.tmpDir(), "stage-")
	}
	if err != nil {
		return nil, errors.Join(err, u.end())
	}
	return u, nil
}

// share starts a reading call.
func (s *Store) share() (*use, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	u := &use{s: s, lock: f}
	if err := filelock.Flock(f, syscall.LOCK_SH); err != nil {
		f.Close()
		return nil, err
	}
	return u, nil
}

// end removes what was staged and not committed.
func (u *use) end() error {
	var err error
	if u.tmp != "" {
		err = os.RemoveAll(u.tmp)
	}
	return errors.Join(err, u.lock.Close())
}

// clear removes blobs that nothing names and what was staged, unless another
// call is under way.
func (u *use) clear() (err error) {
	// The kernel gives the shared lock up before it tries for the other, and does
	// not give it back: another call may clear meanwhile. So this is only for
	// when nothing is staged.
	defer func() { err = errors.Join(err, filelock.Flock(u.lock, syscall.LOCK_SH)) }()
	if filelock.Flock(u.lock, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil
	}
	keep, err := u.s.named()
	if err != nil {
		return nil // whose files they are is not known: the reader of the artifact is told
	}
	blobs := filepath.Join(u.s.dir, imgspec.ImageBlobsDir)
	files, err := filepath.Glob(filepath.Join(blobs, "*", "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(f))), filepath.Base(f))
		if !keep[d] {
			err = errors.Join(err, os.Remove(f))
		}
	}
	staged, _ := filepath.Glob(filepath.Join(u.s.tmpDir(), "*"))
	for _, f := range staged {
		if f != u.tmp {
			err = errors.Join(err, os.RemoveAll(f))
		}
	}
	ents, _ := os.ReadDir(u.s.dir)
	for _, e := range ents {
		if atomicfile.IsTemp(e.Name()) {
			err = errors.Join(err, os.Remove(filepath.Join(u.s.dir, e.Name())))
		}
	}
	return err
}

// named are the blobs that the index leads to.
func (s *Store) named() (map[digest.Digest]bool, error) {
	ix, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	keep := map[digest.Digest]bool{}
	for _, d := range ix.Manifests {
		keep[d.Digest] = true
		a, err := s.read(d)
		if err != nil {
			return nil, err
		}
		keep[a.Manifest.Config.Digest] = true
		for _, l := range a.Manifest.Layers {
			keep[l.Digest] = true
		}
	}
	return keep, nil
}

// edit changes the index. The last writer of a name wins.
func (s *Store) edit(change func(ix *imgspec.Index) error) error {
	f, err := os.OpenFile(filepath.Join(s.dir, "index.lock"), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := filelock.Flock(f, syscall.LOCK_EX); err != nil {
		return err
	}
	ix, err := s.readIndex()
	if err != nil {
		return err
	}
	if err := change(ix); err != nil {
		return err
	}
	layout := filepath.Join(s.dir, imgspec.ImageLayoutFile)
	if _, err := os.Stat(layout); err != nil {
		if err := atomicfile.WriteJSON(layout, imgspec.ImageLayout{Version: imgspec.ImageLayoutVersion}, 0o600, atomicfile.Durable); err != nil {
			return err
		}
	}
	if err := hit(FailpointArtifactBlobs); err != nil {
		return err
	}
	if err := atomicfile.WriteJSON(s.indexFile(), ix, 0o600, atomicfile.Durable); err != nil {
		return err
	}
	return hit(FailpointArtifactIndexed)
}

// setName makes name mean a manifest that is in the store.
func setName(ix *imgspec.Index, name string, m *imgspec.Manifest, d digest.Digest, size int) {
	e := imgspec.Descriptor{MediaType: imgspec.MediaTypeImageManifest, Digest: d, Size: int64(size), ArtifactType: m.ArtifactType,
		Annotations: map[string]string{imgspec.AnnotationRefName: name}}
	if i := indexOf(ix, name); i >= 0 {
		ix.Manifests[i] = e
		return
	}
	ix.Manifests = append(ix.Manifests, e)
}

func indexOf(ix *imgspec.Index, name string) int {
	return slices.IndexFunc(ix.Manifests, func(o imgspec.Descriptor) bool { return nameOf(o) == name })
}

// putBytes makes a blob of a few bytes.
func (u *use) putBytes(data []byte) (digest.Digest, error) {
	d := digest.FromBytes(data)
	return d, atomicfile.Write(u.s.blob(d), data, 0o600, atomicfile.Durable)
}

// Remove takes an artifact's name away, or with a digest all its names, and
// returns its digest. Files that are being read stay until the next writing
// call.
func (s *Store) Remove(ref string) (digest.Digest, error) {
	gone, err := s.remove(func(ix *imgspec.Index) ([]imgspec.Descriptor, error) { return s.match(ix, ref) })
	if err == nil && len(gone) == 0 {
		err = notFound(ref)
	}
	if err != nil {
		return "", err
	}
	return gone[0], nil
}

// RemoveAll takes all names away and returns the digests.
func (s *Store) RemoveAll() ([]digest.Digest, error) {
	return s.remove(func(ix *imgspec.Index) ([]imgspec.Descriptor, error) { return slices.Clone(ix.Manifests), nil })
}

func (s *Store) remove(which func(*imgspec.Index) ([]imgspec.Descriptor, error)) (gone []digest.Digest, err error) {
	if _, err := os.Stat(s.dir); err != nil {
		return nil, nil // nothing is made only to look into it
	}
	ballast.MakeRoom(filepath.Dir(s.dir)) // the index is written anew before a file goes
	u, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, u.end()) }()
	err = s.edit(func(ix *imgspec.Index) error {
		list, err := which(ix)
		if err != nil {
			return err
		}
		for _, d := range list {
			i := indexOf(ix, nameOf(d))
			ix.Manifests = slices.Delete(ix.Manifests, i, i+1)
			gone = append(gone, d.Digest)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return gone, u.clear()
}

func (s *Store) tmpDir() string { return filepath.Join(s.dir, "tmp") }
