// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor/client"
	"github.com/proa-containers/proa/pkg/overlay"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/pack"
)

// CommitOptions describe the image that Commit makes of a container.
type CommitOptions struct {
	Name      string   // repository[:tag]; empty: none
	Changes   []string // Dockerfile instructions
	Author    string
	Message   string
	Pause     bool // stop a running container's processes meanwhile
	MustPause bool // where that is not possible here, fail
	Squash    bool // one layer of all
	// IncludeVolumes declares bind mounts as volumes, too. Those of the
	// container that are volumes always are.
	IncludeVolumes bool
	Config         []byte // JSON, over what the container says
	Docker         bool   // Docker's manifest instead of the OCI one
}

// withBody is load with the container's specification.
func (e *Engine) withBody(ctx context.Context, ref string) (*container, *state.Body, error) {
	c, err := e.load(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	db, err := e.db()
	if err != nil {
		return nil, nil, err
	}
	b, err := db.Body(c.ID)
	return c, b, err
}

// Commit makes an image of a container, running or not, and returns its id.
func (e *Engine) Commit(ctx context.Context, ref string, o CommitOptions) (id string, err error) {
	c, b, err := e.withBody(ctx, ref)
	if err == nil {
		err = c.away()
	}
	if err != nil {
		return "", err
	}
	if b.Rootfs.Upper == "" {
		return "", errs.New(errs.Unsupported, "container %s has no writable layer of its own: the store keeps whole copies (%s)", c.Name, b.Rootfs.Driver)
	}
	if o.Pause {
		resume, err := e.pauseForCommit(ctx, c, o.MustPause)
		if err != nil {
			return "", err
		}
		defer resume()
	}
	config := committedConfig(b, o.IncludeVolumes)
	if o.Config != nil {
		if err := json.Unmarshal(o.Config, config); err != nil {
			return "", errs.New(errs.Invalid, "cannot read the configuration: %w", err)
		}
	}
	r := storage.CommitOptions{Image: c.ImageID, Upper: b.Rootfs.Upper, Fuse: b.Rootfs.Driver == overlay.FuseDriver,
		Config: config, Changes: o.Changes,
		Command: strings.Join(c.Command, " "), Author: o.Author, Message: o.Message, Name: o.Name, Docker: o.Docker}
	if o.Squash {
		r.Squash = &b.Rootfs
	}
	return id, e.inside(ctx, "commit", r, &id, nil, nil)
}

// pauseForCommit stops the processes of a container, so that files that belong
// together are consistent; resume lets them go on.
func (e *Engine) pauseForCommit(ctx context.Context, c *container, must bool) (resume func(), err error) {
	nothing := func() {}
	if !c.running() || c.State != lifecycle.Running {
		return nothing, nil
	}
	m, err := e.dial(c)
	if err != nil {
		return nothing, nil // it has just ended
	}
	err = m.Pause(ctx)
	switch {
	case errs.Is(err, errs.Unsupported) && !must:
		return nothing, nil // this host has no freezer for us: as with --pause=false
	case err != nil && !errs.Is(err, errs.State):
		return nothing, &errs.Error{Op: "pause container", Kind: errs.KindOf(err), Object: c.Name, Err: err, Hint: "proa commit --pause=false " + c.Name}
	}
	return func() {
		if m, err := client.Dial(c.run); err == nil {
			_ = m.Unpause(context.WithoutCancel(ctx))
		}
	}, nil
}

// committedConfig is the image's configuration, changed by what the container
// was started with.
func committedConfig(b *state.Body, binds bool) *dockerspec.DockerOCIImageConfig {
	img, p := &b.Image, &b.Spec.Process
	c := &dockerspec.DockerOCIImageConfig{}
	c.User, c.WorkingDir, c.StopSignal = or(p.User, img.User), or(p.Dir, img.WorkingDir), or(b.Spec.Lifecycle.StopSignal, img.StopSignal)
	c.Env = spec.MergeEnv(img.Env, p.Env, p.UnsetEnv)
	c.Entrypoint, c.Cmd, c.Shell, c.OnBuild = img.Entrypoint, img.Cmd, img.Shell, img.OnBuild
	if p.Entrypoint != nil {
		c.Entrypoint, c.Cmd = *p.Entrypoint, nil
	}
	if len(p.Args) > 0 {
		c.Cmd = p.Args
	}
	for _, m := range []map[string]string{img.Labels, b.Spec.Labels} {
		for k, v := range m {
			put(&c.Labels, k, v)
		}
	}
	for _, v := range img.Volumes {
		put(&c.Volumes, v, struct{}{})
	}
	for _, m := range b.Spec.Mounts {
		if m.Type == spec.MountVolume || binds && m.Type == spec.MountBind {
			put(&c.Volumes, m.Target, struct{}{})
		}
	}
	for _, x := range img.ExposedPorts {
		put(&c.ExposedPorts, x, struct{}{})
	}
	for _, list := range [][]spec.Port{b.Spec.Network.Expose, b.Spec.Network.Ports} {
		for _, x := range list {
			put(&c.ExposedPorts, portKey(x), struct{}{})
		}
	}
	if h := b.Spec.HealthOn(img); h != nil {
		c.Healthcheck = &dockerspec.HealthcheckConfig{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod,
			StartInterval: h.StartInterval, Retries: h.Retries}
	}
	return c
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func put[V any](m *map[string]V, k string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[k] = v
}

func opCommit(ctx context.Context, c *insideCall) (any, error) {
	var o storage.CommitOptions
	if err := json.Unmarshal(c.request, &o); err != nil {
		return nil, err
	}
	base, err := c.e.images.Resolve(o.Image)
	if err != nil {
		return nil, err
	}
	found, err := c.e.images.Changes(base, o.Upper, o.Fuse)
	if err != nil {
		return nil, errs.Wrap(err, "read the changes in", o.Upper)
	}
	o.Skip = startMade(changesOf(found))
	img, err := c.e.images.Commit(ctx, o)
	if err != nil {
		return nil, err
	}
	return img.ID, nil
}

// Change is one path that a container changed.
type Change struct {
	Kind string // A, C or D
	Path string
}

// DiffKind says what a name may mean to Diff.
type DiffKind int

const (
	DiffAny DiffKind = iota // a container, else an image
	DiffContainers
	DiffImages
)

// diffRequest is one of: Image and Upper (a container), Image (its topmost
// layer), Tree and Base.
type diffRequest struct {
	Image      string
	Upper      string
	Fuse       bool // fuse-overlayfs wrote Upper
	Tree, Base *storage.Tree
}

// Diff lists what is different, sorted by path: in a container from its image,
// in an image from what lies below its topmost layer, or (with base) in one of
// them from another. The files that every container gets (/etc/hosts and the
// like) are none of its changes.
func (e *Engine) Diff(ctx context.Context, ref, base string, kind DiffKind) (list []Change, err error) {
	if base != "" {
		return e.diffTrees(ctx, ref, base, kind)
	}
	if kind == DiffImages {
		return e.diffImage(ctx, ref)
	}
	c, b, err := e.withBody(ctx, ref)
	if errs.Is(err, errs.NotFound) && kind == DiffAny {
		if list, ierr := e.diffImage(ctx, ref); !errs.Is(ierr, errs.NotFound) {
			return list, ierr
		}
	}
	if err != nil {
		return nil, err
	}
	if b.Rootfs.Upper == "" {
		return nil, errs.New(errs.Unsupported, "container %s has no writable layer of its own: the store keeps whole copies (%s)", c.Name, b.Rootfs.Driver)
	}
	r := diffRequest{Image: c.ImageID, Upper: b.Rootfs.Upper, Fuse: b.Rootfs.Driver == overlay.FuseDriver}
	if err := e.inside(ctx, "changes", r, &list, nil, nil); err != nil {
		return nil, err
	}
	return ownChanges(list), nil
}

func (e *Engine) diffImage(ctx context.Context, ref string) (list []Change, err error) {
	img, err := e.images.Resolve(ref)
	if err != nil {
		return nil, err
	}
	return list, e.inside(ctx, "changes", diffRequest{Image: img.ID}, &list, nil, nil)
}

func (e *Engine) diffTrees(ctx context.Context, ref, base string, kind DiffKind) (list []Change, err error) {
	var r diffRequest
	for _, t := range []struct {
		ref string
		to  **storage.Tree
	}{{ref, &r.Tree}, {base, &r.Base}} {
		if *t.to, err = e.diffTree(ctx, t.ref, kind); err != nil {
			return nil, err
		}
	}
	if err := e.inside(ctx, "changes", r, &list, nil, nil); err != nil {
		return nil, err
	}
	if r.Tree.Rootfs != nil || r.Base.Rootfs != nil {
		list = ownChanges(list)
	}
	return list, nil
}

func (e *Engine) diffTree(ctx context.Context, ref string, kind DiffKind) (*storage.Tree, error) {
	if kind != DiffImages {
		_, b, err := e.withBody(ctx, ref)
		if err == nil {
			return &storage.Tree{Rootfs: &b.Rootfs}, nil
		}
		if kind == DiffContainers || !errs.Is(err, errs.NotFound) {
			return nil, err
		}
	}
	img, err := e.images.Resolve(ref)
	if err != nil {
		return nil, err
	}
	return &storage.Tree{Image: img.ID}, nil
}

// Directories are looked into and links followed up as root of the namespace:
// what a container wrote may be nobody else's to read.
func opChanges(_ context.Context, c *insideCall) (any, error) {
	var r diffRequest
	if err := json.Unmarshal(c.request, &r); err != nil {
		return nil, err
	}
	found, err := r.changes(c.e.images)
	if err != nil {
		return nil, err
	}
	return changesOf(found), nil
}

func changesOf(found []pack.Change) []Change {
	list := make([]Change, len(found))
	for i, f := range found {
		list[i] = Change{string(rune(f.Kind)), f.Path}
	}
	return list
}

func (r *diffRequest) changes(images *storage.Store) ([]pack.Change, error) {
	if r.Tree != nil {
		return images.Compare(*r.Tree, *r.Base)
	}
	img, err := images.Resolve(r.Image)
	if err != nil {
		return nil, err
	}
	if r.Upper == "" {
		list, err := images.ImageChanges(img)
		return list, errs.Wrap(err, "read the changes of image", r.Image)
	}
	list, err := images.Changes(img, r.Upper, r.Fuse)
	return list, errs.Wrap(err, "read the changes in", r.Upper)
}

// given are the paths that a container's start makes where the image has none:
// marks, and places to mount something on.
func given(p string) bool {
	switch p {
	case "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/proc", "/sys", "/dev":
		return true
	}
	return slices.Contains(spec.Markers, p) || strings.HasPrefix(p, "/dev/") || strings.HasPrefix(p, "/proc/") || strings.HasPrefix(p, "/sys/")
}

// ownChanges leaves out what is given, and the directories that changed only
// because of that.
func ownChanges(list []Change) []Change {
	own := map[string]int{} // directory: changes below it
	var dropped []string
	for _, c := range list {
		if given(c.Path) {
			dropped = append(dropped, path.Dir(c.Path))
			continue
		}
		for d := path.Dir(c.Path); ; d = path.Dir(d) {
			own[d]++
			if d == "/" {
				break
			}
		}
	}
	because := map[string]bool{}
	for _, d := range dropped {
		because[d] = own[d] == 0
	}
	var out []Change
	for _, c := range list {
		if !given(c.Path) && !because[c.Path] {
			out = append(out, c)
		}
	}
	return out
}

// startMade are the paths that are new and that ownChanges leaves out.
func startMade(list []Change) map[string]bool {
	own := map[string]bool{}
	for _, c := range ownChanges(list) {
		own[c.Path] = true
	}
	made := map[string]bool{}
	for _, c := range list {
		if c.Kind == "A" && !own[c.Path] {
			made[strings.TrimPrefix(c.Path, "/")] = true
		}
	}
	return made
}

// ownMarkers are the markers that are new in a container's layer.
func ownMarkers(upper string) map[string]bool {
	skip := map[string]bool{}
	for _, p := range spec.Markers {
		if upper == "" {
			break
		}
		if _, err := os.Lstat(upper + p); err == nil {
			skip[strings.TrimPrefix(p, "/")] = true
		}
	}
	return skip
}

// Export writes a container's file system, without its volumes, as a tar
// archive. The container may be running.
func (e *Engine) Export(ctx context.Context, ref string, w io.Writer) error {
	c, b, err := e.withBody(ctx, ref)
	if err != nil {
		return err
	}
	err = e.insideStreams(ctx, "export", b.Rootfs, nil, stdio{out: w}, nil)
	return errs.Wrap(err, "export container", c.Name)
}

func opExport(_ context.Context, c *insideCall) (_ any, err error) {
	var r spec.Rootfs
	if err := json.Unmarshal(c.request, &r); err != nil {
		return nil, err
	}
	dir, release, err := c.e.images.MountView(r, false)
	if err != nil {
		return nil, err
	}
	defer func() {
		if rerr := release(); err == nil {
			err = rerr
		}
	}()
	w := bufio.NewWriterSize(c.stdout, 256<<10)
	if err := pack.Tar(w, dir, pack.Options{Skip: ownMarkers(r.Upper)}); err != nil {
		return nil, err
	}
	return nil, w.Flush()
}
