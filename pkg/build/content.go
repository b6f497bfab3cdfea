// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"path"
	"strconv"
	"strings"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/build/copying"
	"github.com/proa-containers/proa/pkg/errs"
)

// What an instruction reads goes into its key by content. The id of a stage's layers
// names its content as well, but a stage that was made again has another one even
// where its files are the same: their times differ. So the key has a digest of the
// files that are read, and the cache remembers that digest under the id of the layers:
// a cached build reads no file, and fetches no layer that another cache promised.

// reading is what an instruction reads of a tree. It is found once, and only when
// somebody has to look.
type reading struct {
	b     *builder
	from  tree
	what  *copying.Sources
	items *copying.Items
}

func (r *reading) find(ctx context.Context) (*copying.Items, error) {
	if r.items != nil {
		return r.items, nil
	}
	t, err := r.from.Get(ctx)
	if err != nil {
		return nil, err
	}
	r.items, err = copying.Find(ctx, t, r.what, r.b.tmp)
	return r.items, err
}

// Close ends the use of what was found.
func (r *reading) Close() {
	if r.items != nil {
		r.items.Close()
	}
}

// addContent adds what is read to a key.
func (s *stage) addContent(ctx context.Context, k cache.Key, r *reading) error {
	switch {
	case r.from.id == "":
		items, err := r.find(ctx)
		if err != nil {
			return err
		}
		s.b.tellRead(items.Size())
		return items.AddTo(k, false)
	case r.from.stage:
		sum, err := s.digest(ctx, r)
		k.Add("content", sum)
		return err
	}
	k.Add("from", r.from.id)
	k.Add(r.what.Paths...)
	k.Add(jsonText(r.what.Inline))
	return nil
}

// digest names the files that are read of a stage, with their owners: those are kept.
func (s *stage) digest(ctx context.Context, r *reading) (string, error) {
	w := r.what
	if w.Mount && (path.Clean("/"+w.Paths[0]) == "/" || strings.ContainsAny(w.Paths[0], `*?[\`)) {
		// To read a whole system takes longer than most steps. And to a mount a wildcard
		// is a letter.
		return r.from.id, nil
	}
	key := cache.NewKey("content", r.from.id, jsonText(w.Paths), jsonText(w.Inline), jsonText(w.Exclude),
		strconv.FormatBool(w.Parents)).Sum()
	if known, ok := s.knownDigest(ctx, key); ok {
		s.note(key, known)
		return known.Content, nil
	}
	items, err := r.find(ctx)
	if w.Mount && errs.Is(err, errs.NotFound) {
		return r.from.id, nil // whoever mounts it says so
	}
	if err != nil {
		return "", err
	}
	sum := cache.NewKey("files")
	if err := items.AddTo(sum, true); err != nil {
		return "", err
	}
	known := cache.Record{Empty: true, Content: sum.Sum(), Command: w.Name + " (files read)", Created: s.b.start}
	s.note(key, known)
	return known.Content, s.b.cache.Put(key, known)
}

// knownDigest finds a digest in the own cache, else in those of --cache-from. What it
// says of layers stays true, however old it is.
func (s *stage) knownDigest(ctx context.Context, key string) (cache.Record, bool) {
	if r, ok := s.b.cache.Get(key); ok && r.Content != "" {
		return r, true
	}
	if s.b.cache.Off {
		return cache.Record{}, false
	}
	for _, src := range s.b.sources {
		st := src.Get(ctx, key)
		if st == nil || st.Content == "" {
			continue
		}
		if err := s.b.cache.Put(key, st.Record); err != nil {
			src.Warn(err)
		}
		return st.Record, true
	}
	return cache.Record{}, false
}
