// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/proa-containers/proa/pkg/errs"
)

// CacheSpec is one --cache-from or --cache-to.
type CacheSpec struct {
	Kind        CacheKind
	Name        string // of an artifact or image; of a repository (CacheSteps)
	Dir, Tag    string // of an OCI directory, and the name in it (CacheLocal)
	Max         bool   // the steps of all stages, not only those of the image
	IgnoreError bool   // an export that fails is a warning
	Text        string // as the user wrote it
}

// CacheKind says what form a cache outside of the store has.
type CacheKind string

// The kinds of caches.
const (
	CacheRegistry CacheKind = "registry" // one artifact, or an image with an inline cache
	CacheSteps    CacheKind = "steps"    // podman's: an artifact REPOSITORY:KEY for each step
	CacheLocal    CacheKind = "local"
	CacheInline   CacheKind = "inline" // in the image's manifest
)

func (c CacheSpec) ref() CacheRef { return CacheRef{Name: c.Name, Dir: c.Dir, Tag: c.Tag} }

// The form of a cache: an OCI artifact whose configuration is a cacheFile, whose
// layers are those of the steps. An inline cache is a cacheFile too, as an
// annotation of the image's manifest; its blobs follow from the image.
const (
	cacheConfigType = "application/vnd.proa.buildcache.config.v1+json"
	cacheAnnotation = "io.github.proa-containers.buildcache.v1"
)

type cacheFile struct {
	Version string      `json:"version"` // of the keys
	Steps   []cacheStep `json:"steps"`
}

// cacheStep is one known step.
type cacheStep struct {
	Key     string    `json:"key"`
	Empty   bool      `json:"empty,omitempty"`
	Command string    `json:"command"`
	Created time.Time `json:"created"`
	DiffID  string    `json:"diffID,omitempty"`
	Size    int64     `json:"size,omitempty"` // unpacked
	Blob    string    `json:"blob,omitempty"` // digest of the layer as it is transferred
}

// cacheSource is a cache that steps are looked up in.
type cacheSource struct {
	spec   CacheSpec
	engine Engine
	warn   func(error)

	mu    sync.Mutex
	off   bool // it failed
	items []CacheItem
	steps map[string]*knownStep // nil values: asked, and not known
}

// knownStep is a step with what its layer is made of.
type knownStep struct {
	record
	item CacheItem
	blob CacheBlob
}

// openCaches reads what --cache-from names. One that cannot be read is a
// warning: a cache only saves time.
func (b *session) openCaches(ctx context.Context) {
	for _, spec := range b.o.CacheFrom {
		src := &cacheSource{spec: spec, engine: b.engine, steps: map[string]*knownStep{}}
		src.warn = func(err error) {
			b.warn(Warning{Message: fmt.Sprintf("cannot import the build cache %s: %v", spec.Text, err)})
		}
		b.sources = append(b.sources, src)
		if spec.Kind != CacheSteps {
			src.load(ctx, spec.ref())
		}
	}
}

func (b *session) closeCaches() {
	for _, src := range b.sources {
		for _, item := range src.items {
			_ = item.Close() // only read from
		}
	}
}

// load reads the steps of one artifact; the caller holds no lock or is alone.
func (c *cacheSource) load(ctx context.Context, ref CacheRef) {
	items, err := c.engine.OpenCache(ctx, ref)
	if err != nil {
		if c.spec.Kind != CacheSteps || !errs.Is(err, errs.NotFound) {
			c.off = true
			c.warn(err)
		}
		return
	}
	c.items = append(c.items, items...)
	found := false
	for _, item := range items {
		known, err := readSteps(item)
		if err != nil {
			c.warn(err)
			continue
		}
		found = true
		for k, st := range known {
			c.steps[k] = st
		}
	}
	if !found && len(items) > 0 {
		c.off = true
	}
}

var stepKey = regexp.MustCompile(`^[0-9a-f]{64}$`)

// readSteps takes an item apart. A step that does not fit together is left out:
// it is run again.
func readSteps(item CacheItem) (map[string]*knownStep, error) {
	kind, text := item.Config()
	var blobOf func(st *cacheStep) string
	if kind == cacheConfigType {
		blobOf = func(st *cacheStep) string { return st.Blob }
	} else {
		var err error
		if blobOf, err = inlineBlobs(item, text); err != nil {
			return nil, err
		}
		text = []byte(item.Annotation(cacheAnnotation))
	}
	var f cacheFile
	if len(text) == 0 {
		return nil, errs.New(errs.Invalid, "it holds no build cache")
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, errs.New(errs.Corrupt, "it cannot be read: %v", err)
	}
	if f.Version != keyVersion {
		return nil, errs.New(errs.Unsupported, "its keys are of version %q, those of this proa %q", f.Version, keyVersion)
	}
	blobs := map[string]CacheBlob{}
	for _, b := range item.Blobs() {
		blobs[b.Digest] = b
	}
	steps := map[string]*knownStep{}
	for i := range f.Steps {
		st := &f.Steps[i]
		known := &knownStep{item: item, record: record{Empty: st.Empty, Command: st.Command, Created: st.Created}}
		if !st.Empty {
			known.Layer = Layer{DiffID: st.DiffID, Size: st.Size}
			known.blob = blobs[blobOf(st)]
			if digest.Digest(st.DiffID).Validate() != nil || known.blob.Digest == "" {
				continue
			}
		}
		if stepKey.MatchString(st.Key) {
			steps[st.Key] = known
		}
	}
	return steps, nil
}

// inlineBlobs maps what an image's layers unpack to to the layers themselves.
func inlineBlobs(item CacheItem, config []byte) (func(*cacheStep) string, error) {
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	blobs := item.Blobs()
	if err := json.Unmarshal(config, &c); err != nil || len(c.RootFS.DiffIDs) != len(blobs) {
		return nil, errs.New(errs.Invalid, "it is neither a build cache nor an image")
	}
	byDiff := map[string]string{}
	for i, d := range c.RootFS.DiffIDs {
		byDiff[d] = blobs[i].Digest
	}
	return func(st *cacheStep) string { return byDiff[st.DiffID] }, nil
}

// get looks a step up.
func (c *cacheSource) get(ctx context.Context, key string) *knownStep {
	c.mu.Lock()
	defer c.mu.Unlock()
	st, asked := c.steps[key]
	if c.off || asked || c.spec.Kind != CacheSteps {
		if c.off {
			return nil
		}
		return st
	}
	c.load(ctx, CacheRef{Name: c.spec.Name + ":" + key})
	if _, ok := c.steps[key]; !ok {
		c.steps[key] = nil
	}
	return c.steps[key]
}

// lostLayer is the error of a layer that a cache promised and did not give.
type lostLayer struct {
	source *cacheSource // nil: the own one
	err    error
}

func (l *lostLayer) Error() string { return l.err.Error() }
func (l *lostLayer) Unwrap() error { return l.err }

// lookup finds a step in the own cache, else in those of --cache-from.
func (s *stage) lookup(ctx context.Context, key string, link bool) (record, bool) {
	own, known := s.b.cache.get(key)
	known = known && s.fresh(own)
	if known && s.place(&own, link) {
		return own, true
	}
	for _, src := range s.b.sources {
		st := src.get(ctx, key)
		if st == nil || !s.fresh(st.record) {
			continue
		}
		r := st.record
		r.Imported = true
		if !r.Empty {
			s.promise(&r, src, st)
		}
		// The next build finds it here, if the layer came.
		if err := s.b.cache.put(key, r); err != nil {
			src.warn(err)
		}
		return r, true
	}
	if known && own.Imported && !s.b.strict {
		s.trust(&own)
		return own, true
	}
	return record{}, false
}

// trust goes on with a step whose layer never came here: what follows may be
// known too. If not, the build is done again without such steps.
func (s *stage) trust(r *record) {
	parent := s.top
	r.Layer.ID = s.b.engine.LayerID(parent, r.Layer.DiffID)
	s.b.layers.add(r.Layer.ID, &pendingLayer{parent: parent, gone: true, make: func(context.Context) (Layer, error) {
		return Layer{}, &lostLayer{nil, errs.New(errs.NotFound, "a layer of the build cache was never fetched")}
	}})
}

// fresh says whether a step is young enough for --cache-ttl.
func (s *stage) fresh(r record) bool {
	return s.b.o.CacheTTL == 0 || s.b.start.Sub(r.Created) < s.b.o.CacheTTL
}

// place says what a known step's layer is called here. It fails where the layer
// is gone, or was made on another parent: only the layer of a link can move.
func (s *stage) place(r *record, link bool) bool {
	if r.Empty {
		return true
	}
	id := s.b.engine.LayerID(s.top, r.Layer.DiffID)
	if s.b.layers.has(id) {
		r.Layer.ID = id
		return true
	}
	if !link {
		return false
	}
	from := r.Layer
	if !s.b.engine.LayerExists(from.ID) {
		var ok bool
		if from, ok = s.b.engine.FindLayer(r.Layer.DiffID); !ok {
			return false
		}
	}
	parent, diffID := s.top, r.Layer.DiffID
	s.b.layers.add(id, &pendingLayer{parent: parent, source: CacheLayer{Layer: from}, make: func(ctx context.Context) (Layer, error) {
		return s.b.engine.CopyLayer(ctx, diffID, parent)
	}})
	r.Layer.ID = id
	return true
}

// promise names the layer of a step that a remote cache has.
func (s *stage) promise(r *record, src *cacheSource, st *knownStep) {
	parent, diffID := s.top, r.Layer.DiffID
	r.Layer.ID = s.b.engine.LayerID(parent, diffID)
	s.b.layers.add(r.Layer.ID, &pendingLayer{
		parent: parent, source: CacheLayer{From: st.item, Blob: st.blob},
		make: func(ctx context.Context) (Layer, error) {
			l, err := st.item.Layer(ctx, st.blob, diffID, parent)
			if err != nil && ctx.Err() == nil {
				err = &lostLayer{src, err}
			}
			return l, err
		},
	})
}

// giveUp takes a cache that broke its promise out of the build, which can then
// be done again. It reports whether err was such a failure.
func (b *session) giveUp(err error) bool {
	var lost *lostLayer
	if !errors.As(err, &lost) {
		return false
	}
	if lost.source == nil {
		b.strict = true
	} else {
		lost.source.mu.Lock()
		lost.source.off = true
		lost.source.mu.Unlock()
		lost.source.warn(lost.err)
	}
	b.layers.forget()
	b.shared.forget()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = nil
	for k, l := range b.trees {
		if l.t == nil && strings.HasPrefix(k, "stage:") {
			delete(b.trees, k) // of a layer that does not come
		}
	}
	return true
}
