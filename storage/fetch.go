// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/pkg/blobinfocache/none"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
	"golang.org/x/sync/errgroup"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/blob"
	"github.com/proa-containers/proa/storage/crypt"
	"github.com/proa-containers/proa/storage/guard"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/ocidir"
	"github.com/proa-containers/proa/storage/progress"
	"github.com/proa-containers/proa/storage/registry"
)

const (
	maxConfig = 8 << 20
	maxLayers = 1000
	// parallelLayers downloads at once; as in Docker more only splits the line.
	parallelLayers = 4
)

// fetched is an image that is being brought into the store.
type fetched struct {
	ctx       context.Context
	o         *op
	src       types.ImageSource
	sys       *types.SystemContext
	remote    registry.RemoteOptions
	layout    string // the OCI directory that is read, if any
	tell      *progress.Teller
	top       []byte // manifest or index as named
	topDigest digest.Digest
	raw       []byte // manifest of the platform's image
	rawDigest digest.Digest
	config    []byte
	configID  digest.Digest
	layers    []types.BlobInfo
	diffIDs   []digest.Digest
}

// readManifest reads and checks everything but the layers.
func (f *fetched) readManifest(ctx context.Context, policy *signature.PolicyContext) error {
	unparsed := image.UnparsedInstance(f.src, nil)
	raw, mime, err := unparsed.Manifest(ctx)
	if err != nil {
		return err
	}
	if f.topDigest, err = blob.ManifestDigest(raw); err != nil {
		return err
	}
	f.top = raw
	if manifest.MIMETypeIsMultiImage(mime) {
		list, err := manifest.ListFromBlob(raw, mime)
		if err != nil {
			return errs.New(errs.Corrupt, "cannot read the index: %w", err)
		}
		inst, err := registry.ChooseInstance(f.sys, list)
		if err != nil {
			return err
		}
		if f.layout != "" {
			if err := ocidir.CheckManifest(f.layout, inst); err != nil {
				return err
			}
		}
		unparsed = image.UnparsedInstance(f.src, &inst)
		if raw, mime, err = unparsed.Manifest(ctx); err != nil {
			return err
		}
		if manifest.MIMETypeIsMultiImage(mime) {
			return errs.New(errs.Unsupported, "the index %s names another index", f.topDigest)
		}
	}
	if ok, err := policy.IsRunningImageAllowed(ctx, unparsed); !ok {
		return guard.Deny("image", err)
	}
	if f.rawDigest, err = blob.ManifestDigest(raw); err != nil {
		return err
	}
	f.raw = raw
	return f.parse(ctx, mime)
}

func (f *fetched) parse(ctx context.Context, mime string) error {
	if !json.Valid(f.raw) {
		return errs.New(errs.Corrupt, "cannot read the manifest: it is no JSON, and its type is %q", mime)
	}
	switch manifest.NormalizedMIMEType(mime) {
	case manifest.DockerV2Schema1MediaType, manifest.DockerV2Schema1SignedMediaType:
		return errs.WithHint(errs.New(errs.Unsupported, "the image has the obsolete manifest schema 1"),
			"convert it: skopeo copy --format v2s2 docker://IMAGE docker://IMAGE")
	}
	man, err := manifest.FromBlob(f.raw, mime)
	if err != nil {
		return errs.New(errs.Corrupt, "cannot read the manifest: %w", err)
	}
	info := man.ConfigInfo()
	for _, l := range man.LayerInfos() {
		if err := f.checkBlob(l.BlobInfo); err != nil {
			return err
		}
		f.layers = append(f.layers, l.BlobInfo)
	}
	// A store has layers unpacked: it gives other blobs than the manifest names.
	if have, err := f.src.LayerInfosForCopy(ctx, nil); err != nil {
		return err
	} else if have != nil {
		f.layers = have
	}
	if err := f.checkBlob(info); err != nil {
		return err
	}
	if len(f.layers) > maxLayers {
		return errs.New(errs.Invalid, "the image has %d layers; at most %d are accepted", len(f.layers), maxLayers)
	}
	if info.Size > maxConfig {
		return errs.New(errs.Invalid, "the image's configuration has %d bytes; at most %d are accepted", info.Size, maxConfig)
	}
	if err := crypt.Check(f.layers, f.remote.Decrypt); err != nil {
		return err
	}
	f.configID = info.Digest
	if f.config, err = f.small(ctx, info); err != nil {
		return err
	}
	return f.parseConfig(info.MediaType)
}

// checkBlob refuses what a manifest cannot mean. (Of archives the library makes
// the manifest up, and may not know sizes.)
func (f *fetched) checkBlob(b types.BlobInfo) error {
	if err := b.Digest.Validate(); err != nil {
		return errs.New(errs.Corrupt, "invalid digest %q in the manifest: %w", b.Digest, err)
	}
	if b.Size < 0 && f.src.Reference().Transport().Name() == "docker" {
		return errs.New(errs.Corrupt, "invalid size %d in the manifest", b.Size)
	}
	return nil
}

// small reads a whole verified blob.
func (f *fetched) small(ctx context.Context, info types.BlobInfo) ([]byte, error) {
	info.URLs = nil // as for layers: only the source itself is asked
	rc, _, err := f.src.GetBlob(ctx, info, none.NoCache)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	v, err := blob.NewVerifier(ctx, io.LimitReader(rc, maxConfig+1), info.Digest, info.Size, nil)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(v)
}

func (f *fetched) parseConfig(mime string) error {
	var c dockerspec.DockerOCIImage
	if err := json.Unmarshal(f.config, &c); err != nil {
		return errs.New(errs.Corrupt, "cannot read the image's configuration: %w", err)
	}
	if len(c.RootFS.DiffIDs) == 0 && len(f.layers) > 0 {
		return errs.WithHint(errs.New(errs.Unsupported, "it is an artifact (%s), not an image", mime), "use proa artifact pull")
	}
	if len(c.RootFS.DiffIDs) != len(f.layers) {
		return errs.New(errs.Corrupt, "the manifest names %d layers, the configuration %d", len(f.layers), len(c.RootFS.DiffIDs))
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return errs.New(errs.Corrupt, "invalid digest %q in the image's configuration", d)
		}
	}
	f.diffIDs = c.RootFS.DiffIDs
	if c.OS != "" && c.OS != "linux" {
		return errs.New(errs.Unsupported, "the image is for %s, and only linux can run here", c.OS)
	}
	want := f.sys.ArchitectureChoice
	if want != "" && c.Architecture != "" && c.Architecture != want {
		return errs.New(errs.NotFound, "the image is for %s/%s, not for the requested platform %s", c.OS, c.Architecture, registry.Platform(f.sys))
	}
	return nil
}

// id is the image's id in the store.
func (f *fetched) id() string { return f.configID.Encoded() }

// fetchLayers brings the missing layers in and returns the topmost one's id.
// Downloads run side by side; layers are committed in their order, each as soon
// as those below it are there.
func (f *fetched) fetchLayers() (top string, err error) {
	n := len(f.layers)
	have := f.presentLayers()
	for i := range have {
		f.tell.Layer(progress.Event{ID: progress.Short(f.layers[i].Digest), State: progress.Exists})
		top = layerID(top, f.diffIDs[i])
	}
	ready := make([]chan *staged, n)
	for i := len(have); i < n; i++ {
		ready[i] = make(chan *staged, 1)
		f.tell.Layer(progress.Event{ID: progress.Short(f.layers[i].Digest), State: progress.Waiting, Total: max(f.layers[i].Size, 0)})
	}
	ready = ready[len(have):]
	defer func() { // what was staged when another layer failed
		for _, c := range ready {
			select {
			case g := <-c:
				g.drop(f.o.store)
			default:
			}
		}
	}()
	g, ctx := errgroup.WithContext(f.ctx)
	g.Go(func() error { return f.stageAll(ctx, g, len(have), ready) })
	g.Go(func() (err error) {
		top, err = f.commitLayers(ctx, top, len(have), ready)
		return err
	})
	err = g.Wait()
	return top, err
}

// stageAll stages the layers from the first one on, some at once.
func (f *fetched) stageAll(ctx context.Context, g *errgroup.Group, first int, ready []chan *staged) error {
	slots := make(chan struct{}, f.parallel())
	for i, c := range ready {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		g.Go(func() error {
			defer func() { <-slots }()
			got, err := f.stageLayer(ctx, first+i)
			if err == nil {
				c <- got
			}
			return err
		})
	}
	return nil
}

// commitLayers puts one staged layer on top of the other.
func (f *fetched) commitLayers(ctx context.Context, top string, first int, ready []chan *staged) (string, error) {
	unset := 0
	for i, c := range ready {
		select {
		case got := <-c:
			unset += got.unset
			id, existed, err := f.o.s.commit(f.o.store, got, top, index.LayerImage)
			if err != nil {
				return "", err
			}
			f.o.wrote = f.o.wrote || !existed
			top = id
			state := progress.Done
			if existed {
				state = progress.Exists
			}
			f.tell.Layer(progress.Event{ID: progress.Short(f.layers[first+i].Digest), State: state})
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if unset > 0 {
		f.tell.Line(fmt.Sprintf("%d files are without their set-uid or set-gid bit: their owners need subordinate ids", unset))
	}
	return top, nil
}

func (f *fetched) parallel() int {
	if !f.src.HasThreadSafeGetBlob() {
		return 1
	}
	return parallelLayers
}

// presentLayers are the ids of the lowest layers that the store has already.
func (f *fetched) presentLayers() []string {
	var have []string
	parent := ""
	for _, d := range f.diffIDs {
		id := layerID(parent, d)
		if !f.o.store.Exists(id) {
			return have
		}
		have = append(have, id)
		parent = id
	}
	return have
}

// stageLayer unpacks layer i: from another layer with the same content where
// there is one, else from the source.
func (f *fetched) stageLayer(ctx context.Context, i int) (*staged, error) {
	info, want := f.layers[i], f.diffIDs[i]
	blob := info.Digest
	if crypt.Encrypted(info.MediaType) {
		blob = want
	}
	if g := f.o.stageSame(want, blob); g != nil {
		return g, nil
	}
	g, err := f.download(ctx, info, want)
	if err != nil {
		return nil, errs.Wrap(err, "fetch layer", info.Digest.String())
	}
	if g.diffID != want {
		got := g.diffID
		g.drop(f.o.store)
		return nil, errs.New(errs.Corrupt, "layer %s unpacks to %s; the configuration says %s", info.Digest, got, want)
	}
	f.tell.Layer(progress.Event{ID: progress.Short(info.Digest), State: progress.Extracting, Bytes: max(info.Size, 0), Total: max(info.Size, 0)})
	return g, nil
}

func (f *fetched) download(ctx context.Context, info types.BlobInfo, want digest.Digest) (*staged, error) {
	src := f.src
	if n, ok := src.(renamed); ok {
		src = n.ImageSource // which can send parts of a blob
	}
	rc, size, err := registry.OpenBlob(ctx, src, f.remote, info)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	if info.Size >= 0 {
		size = info.Size
	}
	v, err := blob.NewVerifier(ctx, rc, info.Digest, size, f.meter(info.Digest, size))
	if err != nil {
		return nil, err
	}
	if !crypt.Encrypted(info.MediaType) {
		return f.o.s.stage(f.o.store, v, info.Digest)
	}
	plain, err := crypt.Decrypt(v, info, f.remote.Decrypt)
	if err != nil {
		return nil, err
	}
	// The encrypted blob is not this layer's: nobody else is to be given it for
	// that digest.
	return f.o.s.stage(f.o.store, plain, want)
}

// meter tells about a download ten times a second at most.
func (f *fetched) meter(d digest.Digest, total int64) func(int64) {
	if f.tell.To == nil {
		return nil
	}
	last := int64(0)
	step := max(total/200, 256<<10)
	return func(n int64) {
		if n-last >= step {
			last = n
			f.tell.Layer(progress.Event{ID: progress.Short(d), State: progress.Downloading, Bytes: n, Total: max(total, 0)})
		}
	}
}
