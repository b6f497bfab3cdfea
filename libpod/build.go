// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"

	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/rootless/userns"
	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/imagename"
)

// What a build needs of the engine. All of it runs as root of the user's
// namespace: a build enters it once, with EnterNamespace, instead of at each
// step.

// EnterNamespace runs this command again inside the user's namespace, where
// it is not there yet, and returns its exit status as *errs.ExitError. done
// says that it was run: the caller has nothing more to do. With network this
// process brings up the uplink for the copy when its first RUN step asks for
// it, and holds it from then on: most builds find all their steps in the cache.
func (e *Engine) EnterNamespace(ctx context.Context, argv []string, network bool) (done bool, err error) {
	if userns.Inside() || os.Geteuid() == 0 {
		return false, nil
	}
	ns, err := e.namespace(ctx)
	if err != nil {
		return true, err
	}
	defer ns.Close()
	env := e.dirEnv()
	if network {
		keeper, err := e.keepUplink(ctx, ns)
		if err != nil {
			return true, err
		}
		defer keeper.Close()
		env = append(env, uplinkSocketEnv+"="+keeper.path)
	}
	code, err := userns.Reexec(ctx, ns, argv, env...)
	if err == nil && code != 0 {
		err = &errs.ExitError{Code: code}
	}
	return true, err
}

// BaseImage is an image that a build starts from.
type BaseImage struct {
	ID     string
	Config dockerspec.DockerOCIImage
	Top    storage.Layer
}

// BaseOptions say where a base image comes from.
type BaseOptions struct {
	Platform string // os/arch[/variant]; empty: the host's
	Pull     spec.PullPolicy
	Remote   RemoteOptions
	Progress io.Writer
}

// BaseImage finds an image for a platform, pulling it as the policy says. One
// for another platform than the host's leaves the name to the host's image. Whoever
// removes the image afterwards leaves its layers to those that hold them: HoldLayers.
func (e *Engine) BaseImage(ctx context.Context, ref string, o BaseOptions) (*BaseImage, error) {
	for attempt := 1; ; attempt++ {
		img, err := e.findBase(ctx, ref, o)
		if err != nil {
			return nil, err
		}
		b, err := e.baseImage(ref, img)
		if !errors.Is(err, fs.ErrNotExist) || attempt == 3 { // else it was removed just now
			return b, err
		}
	}
}

// HoldLayers keeps all layers that are here or come, also those of images that are
// removed meanwhile, until release is called or the process ends: a build stands on
// those of its base images, and its cache may lead to any other.
func (e *Engine) HoldLayers() (release func() error, err error) { return e.images.HoldLayers() }

func (e *Engine) findBase(ctx context.Context, ref string, o BaseOptions) (*storage.Image, error) {
	if where, ok := strings.CutPrefix(ref, "oci-layout://"); ok {
		return e.images.PullLayout(ctx, where, storage.PullOptions{Platform: o.Platform, Progress: e.progress(o.Progress)})
	}
	img, err := e.images.ResolveWritten(ref)
	remote := ""
	if err == nil && img.List {
		img, remote, err = e.images.Instance(img, o.Platform)
	}
	if err != nil && !errs.Is(err, errs.NotFound) {
		return nil, err
	}
	if remote != "" {
		ref, img, err = remote, nil, errs.New(errs.NotFound, "No such image: %s", ref) //nolint:staticcheck // Docker's sentence
	}
	foreign := o.Platform != "" && !hostPlatform(o.Platform)
	if foreign && (err != nil || !e.fits(img, o.Platform)) {
		if aside, aerr := e.images.FindAside(ref, o.Platform); aerr == nil {
			img, err = aside, nil
		}
	}
	missing := err != nil || !e.fits(img, o.Platform)
	if missing && o.Pull == spec.PullNever {
		return nil, errs.WithHint(errs.New(errs.NotFound, "No such image: %s", ref), "proa pull %s", ref) //nolint:staticcheck // Docker's sentence
	}
	policy := o.Pull
	if missing && policy == spec.PullMissing {
		policy = spec.PullAlways // it has been looked for
	}
	if policy == spec.PullAlways || policy == spec.PullNewer {
		return e.images.Pull(ctx, ref, storage.PullOptions{RemoteOptions: o.Remote, Policy: policy, Platform: o.Platform, Aside: foreign,
			Written: true, Progress: e.progress(o.Progress)})
	}
	return img, nil
}

func hostPlatform(p string) bool {
	osName, arch, _ := strings.Cut(p, "/")
	arch, variant, _ := strings.Cut(arch, "/")
	return osName == "linux" && arch == runtime.GOARCH && variant == ""
}

func (e *Engine) baseImage(ref string, img *storage.Image) (*BaseImage, error) {
	b := &BaseImage{ID: img.ID, Top: e.images.TopLayer(img)}
	raw, err := e.images.RawConfig(img)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &b.Config); err != nil {
		return nil, errs.New(errs.Corrupt, "the configuration of image %s cannot be read: %v", ref, err)
	}
	return b, nil
}

// What the store offers to builds, under the engine's name.
type (
	// Layer is a read-only layer with all that lies below it.
	Layer = storage.Layer
	// Scratch is a writable layer.
	Scratch = storage.Scratch
	// NewImage describes an image to be made of layers.
	NewImage = storage.CreateOptions
)

// NewScratch starts a writable layer on parent. The caller ends it with Commit
// or Discard.
func (e *Engine) NewScratch(parent Layer) (*Scratch, error) { return e.images.NewScratch(parent) }

// NewDetached starts a writable layer that sees nothing of the parent on which
// it will stand.
func (e *Engine) NewDetached(parent Layer) (*Scratch, error) { return e.images.NewDetached(parent) }

// LayerID is the store's id for a layer with this content on parent.
func LayerID(parent Layer, diffID digest.Digest) string { return storage.LayerID(parent, diffID) }

// FindLayer finds some layer with this content.
func (e *Engine) FindLayer(diffID digest.Digest) (Layer, bool) { return e.images.FindLayer(diffID) }

// CopyLayer puts content that some layer has on top of parent.
func (e *Engine) CopyLayer(ctx context.Context, diffID digest.Digest, parent Layer) (Layer, error) {
	return e.images.CopyLayer(ctx, diffID, parent)
}

// A build cache outside of the store.
type (
	CacheRef   = storage.CacheRef
	CacheBlob  = storage.CacheBlob
	CacheItem  = storage.CacheItem
	CacheLayer = storage.CacheLayer
)

// OpenCache opens a build cache, or the images of a name.
func (e *Engine) OpenCache(ctx context.Context, ref CacheRef) ([]*CacheItem, error) {
	return e.images.OpenCache(ctx, ref)
}

// WriteCache makes a build cache.
func (e *Engine) WriteCache(ctx context.Context, ref CacheRef, configType string, layers []CacheLayer, config func([]CacheBlob) ([]byte, error)) error {
	return e.images.WriteCache(ctx, ref, configType, layers, config)
}

// MountLayer mounts a layer chain for reading; release unmounts.
func (e *Engine) MountLayer(ctx context.Context, top Layer) (dir string, release func() error, err error) {
	return e.images.MountLayer(ctx, top)
}

// LayerExists reports whether a layer is in the store.
func (e *Engine) LayerExists(id string) bool { return e.images.LayerExists(id) }

// RemoveLayers deletes those of the layers that neither an image nor another layer
// needs, with the layers of former images below them, and returns the bytes given
// back.
func (e *Engine) RemoveLayers(ctx context.Context, ids ...string) (int64, error) {
	return e.images.RemoveLayers(ctx, ids...)
}

// BuildLayer is a layer that a build made.
type BuildLayer struct {
	Created time.Time
	Size    int64 // bytes, unpacked
}

// BuildLayers are the layers that builds made and no image needs, by id.
func (e *Engine) BuildLayers() (map[string]BuildLayer, error) {
	layers, err := e.images.BuildLayers()
	if err != nil {
		return nil, err
	}
	out := map[string]BuildLayer{}
	for id, l := range layers {
		out[id] = BuildLayer{Created: l.Created, Size: l.DiffSize}
	}
	return out, nil
}

// CheckNames refuses what cannot be the name of an image.
func (e *Engine) CheckNames(names []string) error {
	_, _, err := imageNames(names)
	return err
}

// imageNames completes names, and tells how they appear in lists.
func imageNames(names []string) (full, shown []string, err error) {
	full = make([]string, 0, len(names))
	for _, name := range names {
		f, err := imagename.Normalize(name)
		if err != nil {
			return nil, nil, err
		}
		full = append(full, f)
		shown = append(shown, imagename.Familiar(f))
	}
	return full, shown, nil
}

// CreateImage stores an image. The names are given as the user wrote them;
// shown is how they appear in lists.
func (e *Engine) CreateImage(ctx context.Context, n NewImage) (id string, shown []string, err error) {
	if n.Names, shown, err = imageNames(n.Names); err != nil {
		return "", nil, err
	}
	id, err = e.images.CreateImage(ctx, n)
	return id, shown, err
}

// NewList describes a manifest list to be made of images.
type NewList = storage.ListOptions

// CreateList makes a manifest list; names are treated as by CreateImage.
func (e *Engine) CreateList(ctx context.Context, l NewList) (id string, shown []string, err error) {
	if l.Names, shown, err = imageNames(l.Names); err != nil {
		return "", nil, err
	}
	id, _, err = e.images.CreateList(ctx, l)
	if l.Add != "" && err == nil {
		var f string
		f, err = imagename.Normalize(l.Add)
		shown = append(shown, imagename.Familiar(f))
	}
	return id, shown, err
}

// Platforms are those that a base image is available for.
func (e *Engine) Platforms(ctx context.Context, ref string, r RemoteOptions) ([]string, error) {
	return e.images.Platforms(ctx, ref, r)
}

// DataDir is where everything lies that outlives a reboot.
func (e *Engine) DataDir() string { return e.dirs.Data }

// BuildCacheDir is where builds keep their records and cache mounts.
func (e *Engine) BuildCacheDir() string { return filepath.Join(e.dirs.Data, "build") }

// BuildSecretDir is where a build puts the files of secrets for its steps.
func (e *Engine) BuildSecretDir() string { return filepath.Join(e.dirs.Run, "build") }

// Step is one command of a build.
type Step struct {
	Rootfs         spec.Rootfs
	Spec           spec.Container
	Image          spec.ImageConfig
	In             io.Reader // nil: nothing
	Stdout, Stderr io.Writer
	Started        func(id string) // may be nil
	Mounted        func()          // is told that all mounts are made; may be nil
}

// CheckStep refuses what steps with the settings of c cannot have on this host.
func (e *Engine) CheckStep(ctx context.Context, c *spec.Container) error {
	s := *c
	for i := range s.Mounts {
		if err := e.checkBind(&s.Mounts[i]); err != nil {
			return err
		}
	}
	s.Process.Entrypoint, s.Process.Args = &[]string{}, []string{"true"}
	return e.tryBuild(ctx, "check", &s, spec.ImageConfig{})
}

// RunStep runs a command on top of layers, without a record: when this process
// ends, so does the step, and nothing is left of it. It returns the exit code.
func (e *Engine) RunStep(ctx context.Context, s Step) (code int, err error) {
	if needsUplink(&s.Spec.Network) {
		if err := askUplink(ctx); err != nil {
			return 0, err
		}
	}
	id := newID()
	run := e.dirs.ContainerRun(id)
	lock, err := rundir.LockNew(rundir.Paths{Run: run})
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(run)
	defer lock.Close()
	l, err := e.launch(ctx, id, &s.Spec, lock, true)
	if err != nil {
		return 0, err
	}
	defer l.release()
	code, err = e.runStep(ctx, id, l, &s)
	if err != nil {
		l.kill()
	}
	return code, err
}

func (e *Engine) runStep(ctx context.Context, id string, l *launching, s *Step) (int, error) {
	_, cfg, err := e.build(ctx, id, &state.Body{Spec: s.Spec, Image: s.Image, Rootfs: s.Rootfs}, l)
	if err != nil {
		return 0, err
	}
	cfg.DataDir, cfg.Tethered, cfg.Name = cfg.RunDir, true, id[:12]
	cfg.StopSignal, cfg.StopTimeout = "SIGTERM", defaultStopTimeout
	cfg.Logging.Driver = "none"
	if err := l.waitUplink(); err != nil {
		return 0, l.cause(ctx, err)
	}
	n, err := newSession(Streams{In: s.In, Out: s.Stdout, Err: s.Stderr, TTY: s.Spec.Process.TTY}, s.Spec.Process.TTY)
	if err != nil {
		return 0, err
	}
	defer n.end()
	cfg.Process.Rows, cfg.Process.Cols = n.size()
	a, err := l.handle.Attach(*n.request())
	if err != nil {
		return 0, err
	}
	ended := n.pump(a)
	if err := l.handle.Send(cfg); err != nil {
		return 0, err
	}
	if s.Started != nil {
		s.Started(id)
	}
	if _, err := l.handle.Ready(ctx); err != nil {
		return 0, userns.ExplainLimits(err)
	}
	if s.Mounted != nil {
		s.Mounted()
	}
	if err := n.connect(a); err != nil {
		return 0, err
	}
	n.feed(a)
	select {
	case r := <-ended:
		if r.err == nil && r.exit.Refused != nil {
			return 0, r.exit.Refused.Err()
		}
		return r.exit.Code, r.err
	case <-ctx.Done():
		l.kill()
		select {
		case <-ended:
		case <-time.After(2 * time.Second): // the processes are killed: a monitor that hangs keeps nobody
		}
		return 0, errors.Join(ctx.Err(), os.RemoveAll(cfg.RunDir))
	}
}
