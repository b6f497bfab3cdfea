// SPDX-License-Identifier: Apache-2.0

// Package index is what reading commands read in place of the store: it needs no
// user namespace, takes no lock of the store and loads nothing of its library.
// What the index lacks it derives from the store's own files.
package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
)

// Index reads the images of one user's store. It is safe for use by several
// goroutines. On disk it is
//
//	index/names        one line per name, digest and id: looked up by a search
//	index/list.json    all summaries
//	index/i/ID.json    one Image each
//
// names and list.json begin with the stamp of the store's images.json that they
// were made from. A stamp that differs says that a command changed the store
// and has not yet written the index (or was killed before): the reader then
// derives the index itself, from the store's own files, and writes it if nobody
// else is at it. Layers need no stamp: an image's layers never change.
type Index struct {
	root string // of the store
}

// Of is the index of the store at root, an absolute path. Nothing is read or
// created yet.
func Of(root string) *Index { return &Index{root} }

// snapshot is an index in memory.
type snapshot struct {
	names  []byte
	list   []Summary
	images map[string]*Image
}

const indexVersion = "proa-index 4"

func (x *Index) indexDir() string { return filepath.Join(x.root, "index") }

// Home is the directory that relative lower directories start at.
func (x *Index) Home() string { return filepath.Join(x.root, "overlay") }

func (x *Index) imageFile(id string) string {
	return filepath.Join(x.indexDir(), "i", id+".json")
}

// stamp identifies one version of a file that is only ever replaced whole.
func stamp(path string) string {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return indexVersion + " none"
	}
	return fmt.Sprintf("%s %d %d %d.%09d", indexVersion, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
}

// Driver is the kind of the existing store: overlay, vfs, or "" before the
// first image.
func (x *Index) Driver() string {
	for _, d := range []string{"overlay", "vfs"} {
		if _, err := os.Stat(filepath.Join(x.root, d+"-images")); err == nil {
			return d
		}
	}
	return ""
}

func (x *Index) imagesJSON() string {
	return filepath.Join(x.root, x.Driver()+"-images", "images.json")
}

// readNames returns the lines of index/names, or an index made afresh.
func (x *Index) readNames() ([]byte, *snapshot, error) {
	want := stamp(x.imagesJSON())
	data, err := os.ReadFile(filepath.Join(x.indexDir(), "names"))
	if err == nil {
		if head, rest, ok := bytes.Cut(data, []byte("\n")); ok && string(head) == want {
			return data[len(data)-len(rest)-1:], nil, nil
		}
	}
	snap, err := x.refresh(false)
	if err != nil {
		return nil, nil, err
	}
	return snap.names, snap, nil
}

// UpToDate reports whether the index on disk is up to date.
func (x *Index) UpToDate() bool {
	f, err := os.Open(filepath.Join(x.indexDir(), "names"))
	if err != nil {
		return false
	}
	defer f.Close()
	want := stamp(x.imagesJSON())
	have := make([]byte, len(want)+1)
	_, err = io.ReadFull(f, have)
	return err == nil && string(have) == want+"\n"
}

type listFile struct {
	Stamp  string    `json:"stamp"`
	Images []Summary `json:"images"`
}

// List returns all images, the newest first. The slice is the caller's.
func (x *Index) List() ([]Summary, error) {
	want := stamp(x.imagesJSON())
	data, err := os.ReadFile(filepath.Join(x.indexDir(), "list.json"))
	if err == nil {
		// The stamp comes first: a stale list need not be parsed.
		if bytes.HasPrefix(data, []byte(`{"stamp":"`+want+`"`)) {
			var l listFile
			if err := json.Unmarshal(data, &l); err == nil {
				return l.Images, nil
			}
		}
	}
	snap, err := x.refresh(false)
	if err != nil {
		return nil, err
	}
	return snap.list, nil
}

// Image reads one image by its complete id. One that is not there is fs.ErrNotExist.
func (x *Index) Image(id string) (*Image, error) { return x.readImage(id, nil) }

// readImage reads one image that readNames has just named. An image that was
// removed in between is not found.
func (x *Index) readImage(id string, snap *snapshot) (*Image, error) {
	if snap != nil {
		if img := snap.images[id]; img != nil {
			return img, nil
		}
	}
	data, err := os.ReadFile(x.imageFile(id))
	if err != nil {
		return nil, err
	}
	var f imageFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, errs.WithHint(errs.New(errs.Corrupt, "cannot read the index of image %q: %v", id, err),
			"remove the directory %s: it is made again", x.indexDir())
	}
	return &f.Image, nil
}

// imageFile is index/i/ID.json.
type imageFile struct {
	Key string `json:"key"` // digest of the store's record that it was made from
	Image
}

// Refresh brings the index on disk up to date, after the store changed.
func (x *Index) Refresh() error {
	_, err := x.refresh(true)
	return err
}

// refresh derives the index from the store's files and writes it. With wait it
// waits for another writer of the index, else that one's result is as good.
func (x *Index) refresh(wait bool) (*snapshot, error) {
	unlock, ok := x.lockIndex(wait)
	defer unlock()
	// Before reading: should the store change meanwhile, the index is stale
	// from the start and the next reader sees it.
	mark := stamp(x.imagesJSON())
	snap, fresh, err := x.derive()
	if err != nil {
		return nil, err
	}
	if !ok {
		return snap, nil
	}
	return snap, x.writeIndex(snap, fresh, mark, wait)
}

// lockIndex keeps writers of the index apart. A user who cannot create it (a
// read-only home) goes without.
func (x *Index) lockIndex(wait bool) (unlock func(), ok bool) {
	none := func() {}
	if _, err := os.Stat(x.root); err != nil && !wait {
		return none, false // nothing there: a reading command creates nothing
	}
	if err := os.MkdirAll(filepath.Join(x.indexDir(), "i"), 0o700); err != nil {
		return none, false
	}
	f, err := os.OpenFile(filepath.Join(x.indexDir(), "lock"), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return none, false
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	if err := filelock.Flock(f, how); err != nil {
		f.Close()
		return none, false
	}
	return func() { f.Close() }, true
}

func (x *Index) writeIndex(snap *snapshot, fresh map[string]imageFile, mark string, must bool) error {
	fail := func(err error) error {
		if must {
			return err
		}
		return nil // the reader has what it needs
	}
	for id, f := range fresh {
		if err := atomicfile.WriteJSON(x.imageFile(id), f, 0o600, atomicfile.Volatile); err != nil {
			return fail(err)
		}
	}
	l := listFile{Stamp: mark, Images: snap.list}
	if l.Images == nil {
		l.Images = []Summary{}
	}
	if err := atomicfile.WriteJSON(filepath.Join(x.indexDir(), "list.json"), l, 0o600, atomicfile.Volatile); err != nil {
		return fail(err)
	}
	text := append([]byte(mark), snap.names...)
	if err := atomicfile.Write(filepath.Join(x.indexDir(), "names"), text, 0o600, atomicfile.Volatile); err != nil {
		return fail(err)
	}
	x.sweepIndex(snap)
	return nil
}

// sweepIndex removes what the index has no more, and what killed writers left.
// It comes last: until then the old names could lead a reader to an old image.
func (x *Index) sweepIndex(snap *snapshot) {
	own, _ := os.ReadDir(x.indexDir())
	for _, e := range own {
		if atomicfile.IsTemp(e.Name()) {
			_ = os.Remove(filepath.Join(x.indexDir(), e.Name()))
		}
	}
	ents, _ := os.ReadDir(filepath.Join(x.indexDir(), "i"))
	for _, e := range ents {
		id, isImage := strings.CutSuffix(e.Name(), ".json")
		if atomicfile.IsTemp(e.Name()) || isImage && snap.images[id] == nil {
			_ = os.Remove(filepath.Join(x.indexDir(), "i", e.Name()))
		}
	}
}

// lines renders the names of all images; the first byte is a line feed, so that
// a search can ask for whole lines.
func (snap *snapshot) lines() []byte {
	var b bytes.Buffer
	b.WriteByte('\n')
	for i := range snap.list {
		m := &snap.list[i]
		fmt.Fprintf(&b, "i\t%s\n", m.ID)
		for _, n := range m.Names {
			fmt.Fprintf(&b, "n\t%s\t%s\n", n, m.ID)
		}
		for _, n := range m.RepoDigests {
			fmt.Fprintf(&b, "d\t%s\t%s\n", n, m.ID)
		}
	}
	return b.Bytes()
}

// lookup finds the id of a complete name or name@digest.
func lookup(names []byte, kind, name string) (string, bool) {
	key := []byte("\n" + kind + "\t" + name + "\t")
	i := bytes.Index(names, key)
	if i < 0 {
		return "", false
	}
	id, _, _ := bytes.Cut(names[i+len(key):], []byte("\n"))
	return string(id), true
}

// hasDigest says whether an image has a name by digest in a repository.
func hasDigest(names []byte, repository, id string) bool {
	key := []byte("\nd\t" + repository + "@")
	for rest := names; ; {
		i := bytes.Index(rest, key)
		if i < 0 {
			return false
		}
		rest = rest[i+1:]
		if line, _, _ := bytes.Cut(rest, []byte("\n")); bytes.HasSuffix(line, []byte("\t"+id)) {
			return true
		}
	}
}

// lookupID finds the only id with the prefix.
func lookupID(names []byte, prefix string) (id string, many bool) {
	key := []byte("\ni\t" + prefix)
	for rest := names; ; {
		i := bytes.Index(rest, key)
		if i < 0 {
			return id, false
		}
		line, _, _ := bytes.Cut(rest[i+3:], []byte("\n"))
		if len(prefix) == len(line) {
			return string(line), false
		}
		if id != "" {
			return "", true
		}
		id, rest = string(line), rest[i+len(key):]
	}
}

func sortNewest(list []Summary) {
	slices.SortStableFunc(list, func(a, b Summary) int { return b.Created.Compare(a.Created) })
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
