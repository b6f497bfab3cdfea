// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/index"
)

// PullOptions say what to fetch and where its progress goes.
type PullOptions struct {
	RemoteOptions
	Platform string // os/arch[/variant]; empty: the host's
	AllTags  bool
	Quiet    bool
	// Policy is always unless set (pull asks the registry by default).
	Policy   spec.PullPolicy
	Progress io.Writer // Docker's lines, or bars on a terminal; nil: nothing
}

type pullRequest struct {
	Ref     string
	Options storage.PullOptions
}

// Pull fetches an image and returns its id. A killed Pull leaves no half image.
func (e *Engine) Pull(ctx context.Context, ref string, o PullOptions) (id string, err error) {
	policy := o.Policy
	if policy == spec.PullMissing {
		policy = spec.PullAlways // whoever asks has looked already
	}
	var p storage.Progress
	if !o.Quiet {
		p = e.progress(o.Progress)
	}
	err = e.inside(ctx, "pull", pullRequest{ref, storage.PullOptions{RemoteOptions: o.RemoteOptions, Policy: policy, Platform: o.Platform, AllTags: o.AllTags}}, &id, nil, p)
	return id, err
}

func opPull(ctx context.Context, c *insideCall) (any, error) {
	var r pullRequest
	if err := json.Unmarshal(c.request, &r); err != nil {
		return nil, err
	}
	r.Options.Progress = c.progress
	img, err := c.e.images.Pull(ctx, r.Ref, r.Options)
	if err != nil {
		return nil, err
	}
	return img.ID, nil
}

// insideOps are the operations that need root of the user's namespace. It is
// a function because the operations call inside.
func insideOps() map[string]insideOp {
	ops := map[string]insideOp{
		"rm": opRemoveTrees, "pull": opPull, "load": opLoad, "import": opImport, "tag": opTag, "untag": opUntag, "rmi": opRemoveImage,
		"rootfs": opRootfs,
		"push":   opPush, "save": opSave, "commit": opCommit, "changes": opChanges, "export": opExport,
		"prune": opPrune, "sizes": opSizes, "check": opCheck,
	}
	manifestOps(ops)
	return ops
}

// ImageListOptions select images.
type ImageListOptions struct {
	All     bool
	Filters map[string][]string // imageFilters
	Ref     string              // repository[:tag|@digest] pattern; empty: all
	list    bool                // nothing is done to the images
}

// ImageSummary is one image as `images` shows it.
type ImageSummary struct {
	ID          string
	Names       []string // familiar: alpine:latest
	RepoDigests []string
	Created     time.Time
	Size        int64 // bytes
	Labels      map[string]string
	Containers  int // that use it
}

// Images lists the images in the store, the newest first.
func (e *Engine) Images(_ context.Context, o ImageListOptions) ([]ImageSummary, error) {
	list, err := e.images.List()
	if err != nil {
		return nil, err
	}
	o.list = true
	f, err := e.imageFilter(o)
	if err != nil {
		return nil, err
	}
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	use, err := db.ImageUse()
	if err != nil {
		return nil, err
	}
	out := make([]ImageSummary, 0, len(list))
	inList := index.InLists(list)
	for i := range list {
		// The images of a list are shown as the list.
		hidden := list[i].Intermediate || inList[list[i].ID] && len(list[i].Names) == 0
		if hidden && !o.All && o.Filters["intermediate"] == nil || !f(&list[i]) {
			continue
		}
		shown := list[i]
		shown.Names = o.asked(shown.Names, list[i].RepoDigests)
		if len(shown.Names) == 0 {
			shown.RepoDigests = o.asked(shown.RepoDigests, list[i].RepoDigests)
		}
		s := imageSummary(&shown)
		s.Size += instanceSize(list, list[i].Instances)
		s.Containers = use[list[i].ID]
		out = append(out, s)
	}
	return out, nil
}

// instanceSize adds up the images of a manifest list.
func instanceSize(list []storage.Summary, ids []string) (size int64) {
	for i := range list {
		if slices.Contains(ids, list[i].ID) {
			size += list[i].Size
		}
	}
	return size
}

func imageSummary(i *storage.Summary) ImageSummary {
	s := ImageSummary{ID: i.ID, Created: i.Created, Size: i.Size, Labels: i.Labels}
	for _, n := range i.Names {
		s.Names = append(s.Names, imagename.Familiar(n))
	}
	for _, n := range i.RepoDigests {
		s.RepoDigests = append(s.RepoDigests, imagename.Familiar(n))
	}
	return s
}

// ImageDetails is everything known about one image.
type ImageDetails struct {
	ImageSummary
	Config       spec.ImageConfig
	Digest       string
	Parent       string
	Author       string
	Comment      string
	Architecture string
	OS           string
	Variant      string
	Layers       []string // diff ids, the lowest first
	History      []ImageHistory
	LayerDirs    []string          // on the host, topmost first
	ManifestType string            // MIME type
	Annotations  map[string]string // of the manifest
}

// ImageHistory is one line of an image's history, the oldest first.
type ImageHistory struct {
	Created    time.Time
	CreatedBy  string
	Author     string
	Comment    string
	EmptyLayer bool
	Size       int64
	ID         string // of a local image that ends with this step; empty: none
}

// ImageInspect returns everything known about one image: by name, id or unique
// prefix of an id.
func (e *Engine) ImageInspect(_ context.Context, ref string) (*ImageDetails, error) {
	img, err := e.images.Resolve(ref)
	if err != nil {
		return nil, err
	}
	d := &ImageDetails{ImageSummary: imageSummary(&img.Summary), Config: img.Config, Digest: img.Digest, Parent: img.Parent, Author: img.Author,
		Comment: img.Comment, Architecture: img.Architecture, OS: img.OS, Variant: img.Variant, Layers: img.DiffIDs, LayerDirs: e.images.LayerDirs(img)}
	for _, h := range img.History {
		d.History = append(d.History, ImageHistory{Created: h.Created, CreatedBy: h.CreatedBy, Author: h.Author, Comment: h.Comment, EmptyLayer: h.EmptyLayer, Size: h.Size})
	}
	if d.ManifestType, d.Annotations, err = e.images.ManifestNotes(img); err != nil {
		return nil, err
	}
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	use, err := db.ImageUse()
	d.Containers = use[img.ID]
	return d, err
}

// ImageHistory lists the steps of an image's making, the newest first.
func (e *Engine) ImageHistory(_ context.Context, ref string) ([]ImageHistory, error) {
	img, err := e.images.Resolve(ref)
	if err != nil {
		return nil, err
	}
	out := make([]ImageHistory, len(img.History))
	for i, h := range img.History {
		out[len(out)-1-i] = ImageHistory{Created: h.Created, CreatedBy: h.CreatedBy, Comment: h.Comment, EmptyLayer: h.EmptyLayer, Size: h.Size}
	}
	if len(out) == 0 { // an image that was made without one
		out = []ImageHistory{{Created: img.Created, Comment: img.Comment, Size: img.Size}}
	}
	out[0].ID = img.ID
	// An image that was made here of another one goes on with that one's steps.
	for steps := len(out); img.Parent != ""; {
		if img, err = e.images.Resolve(img.Parent); err != nil || len(img.History) >= steps || len(img.History) == 0 {
			break
		}
		steps = len(img.History)
		out[len(out)-steps].ID = img.ID
	}
	return out, nil
}

// Tag gives the image another name, taking it from whatever image had it.
func (e *Engine) Tag(ctx context.Context, ref, name string) error {
	return e.inside(ctx, "tag", []string{ref, name}, nil, nil, nil)
}

func opTag(ctx context.Context, c *insideCall) (any, error) {
	var a []string
	if err := json.Unmarshal(c.request, &a); err != nil {
		return nil, err
	}
	return nil, c.e.images.Tag(ctx, a[0], a[1])
}

// Untag takes names (all without any) from an image without deleting it.
func (e *Engine) Untag(ctx context.Context, ref string, names ...string) error {
	return e.inside(ctx, "untag", append([]string{ref}, names...), nil, nil, nil)
}

func opUntag(ctx context.Context, c *insideCall) (any, error) {
	var a []string
	if err := json.Unmarshal(c.request, &a); err != nil {
		return nil, err
	}
	return c.e.images.Untag(ctx, a[0], a[1:]...)
}

// RemoveImageOptions say what `rmi` may destroy.
type RemoveImageOptions struct {
	Force   bool // also where a stopped container uses it: the container goes too
	NoPrune bool // keep untagged parents
	Ignore  bool // a missing image is no error
}

// ImageRemoval is what one RemoveImage did, in Docker's order.
type ImageRemoval struct {
	Containers []RemovedContainer // gone also where the image could not be removed then
	Untagged   []string
	Deleted    []string // "sha256:..."
}

// RemovedContainer is a stopped container that went with its image.
type RemovedContainer struct{ ID, Name string }

type removeImageRequest struct {
	Ref            string
	Force, NoPrune bool
	InUse          map[string]string // image id: the sentence for the error
}

// RemoveImage takes a name from an image and deletes the image with its last
// name. With an error it returns what was removed before, if anything.
func (e *Engine) RemoveImage(ctx context.Context, ref string, o RemoveImageOptions) (*ImageRemoval, error) {
	img, err := e.images.Resolve(ref)
	if err != nil {
		if errs.Is(err, errs.NotFound) && o.Ignore {
			return &ImageRemoval{}, nil
		}
		return nil, err
	}
	done := &ImageRemoval{}
	if o.Force && storage.Deletes(img, ref) {
		if done.Containers, err = e.removeUsers(ctx, img.ID); err != nil {
			return done, err
		}
	}
	// From the look at the containers to the deletion nobody makes a new one.
	lock, err := e.lockImages(ctx, unix.LOCK_EX)
	if err != nil {
		return done, err
	}
	defer lock.Close()
	r := removeImageRequest{Ref: ref, Force: o.Force, NoPrune: o.NoPrune}
	if r.InUse, err = e.imageUsers(ctx); err != nil {
		return done, err
	}
	var removed storage.Removal
	if err := e.inside(ctx, "rmi", r, &removed, nil, nil); err != nil {
		return done, err
	}
	done.Untagged, done.Deleted = removed.Untagged, removed.Deleted
	return done, nil
}

// removeUsers removes the stopped containers of an image, none where one runs: then
// the image stays.
func (e *Engine) removeUsers(ctx context.Context, imageID string) (gone []RemovedContainer, err error) {
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	rows, err := db.ImageUsers(imageID)
	if err != nil {
		return nil, err
	}
	var stopped []RemovedContainer
	for _, row := range rows {
		c, err := e.reconcile(ctx, row)
		if err != nil && !errs.Is(err, errs.NotFound) {
			return nil, err
		}
		if c == nil {
			continue
		}
		if c.locked || c.host != "" {
			return nil, nil // the store's refusal tells about it
		}
		stopped = append(stopped, RemovedContainer{ID: c.ID, Name: c.Name})
	}
	for _, c := range stopped {
		if err := e.Remove(ctx, c.ID, RemoveOptions{Ignore: true}); err != nil {
			return gone, err
		}
		gone = append(gone, c)
	}
	return gone, nil
}

// imageUsers says for each image in use by what. The caller holds the lock of the
// images alone.
func (e *Engine) imageUsers(ctx context.Context) (map[string]string, error) {
	list, err := e.containers(ctx, true)
	if err != nil {
		return nil, err
	}
	use := map[string]string{}
	for _, c := range list {
		var how string
		switch {
		case c.running(), c.host != "":
			how = "image is being used by running container " + c.ID[:12]
		case use[c.ImageID] == "":
			how = "image is being used by stopped container " + c.ID[:12]
		default:
			continue
		}
		use[c.ImageID] = how
	}
	return use, nil
}

func opRemoveImage(ctx context.Context, c *insideCall) (any, error) {
	var r removeImageRequest
	if err := json.Unmarshal(c.request, &r); err != nil {
		return nil, err
	}
	return c.e.images.Remove(ctx, r.Ref, storage.RemoveOptions{Force: r.Force, NoPrune: r.NoPrune, InUse: func(id string) string { return r.InUse[id] }})
}

// LoadOptions say where an archive comes from.
type LoadOptions struct {
	Path     string    // of the archive or OCI directory; empty: Input
	Input    io.Reader `json:"-"` // read to its end
	Platform string    // of the images; empty: the host's of several, and whatever a single one is for
	Quiet    bool
	Progress io.Writer `json:"-"`
}

// LoadedImage is one image that Load added.
type LoadedImage struct {
	ID    string
	Names []string
}

// Load adds the images of a docker-archive, oci-archive or OCI directory,
// compressed or not.
func (e *Engine) Load(ctx context.Context, o LoadOptions) (list []LoadedImage, err error) {
	var p storage.Progress
	if !o.Quiet {
		p = e.progress(o.Progress)
	}
	return list, e.inside(ctx, "load", o, &list, o.Input, p)
}

func opLoad(ctx context.Context, c *insideCall) (any, error) {
	var o LoadOptions
	if err := json.Unmarshal(c.request, &o); err != nil {
		return nil, err
	}
	l, err := c.e.images.Load(ctx, storage.LoadOptions{Path: o.Path, Input: c.stdin, Platform: o.Platform, Progress: c.progress})
	if err != nil {
		return nil, err
	}
	list := make([]LoadedImage, len(l))
	for i, x := range l {
		list[i] = LoadedImage{ID: x.ID, Names: x.Names}
	}
	return list, nil
}

// ImportOptions describe the image that Import makes of a file tree.
type ImportOptions struct {
	Path     string    // of the tar archive, or a http(s) URL; empty: Input
	Input    io.Reader `json:"-"` // with an empty Path
	Name     string    // repository[:tag]; empty: none
	Changes  []string  // Dockerfile instructions: CMD, ENV, ...
	Message  string
	Platform string
	Progress io.Writer `json:"-"`
}

// Import makes an image of a tar archive of a root file system.
func (e *Engine) Import(ctx context.Context, o ImportOptions) (id string, err error) {
	return id, e.inside(ctx, "import", o, &id, o.Input, e.progress(o.Progress))
}

func opImport(ctx context.Context, c *insideCall) (any, error) {
	var o ImportOptions
	if err := json.Unmarshal(c.request, &o); err != nil {
		return nil, err
	}
	img, err := c.e.images.Import(ctx, storage.ImportOptions{Path: o.Path, Input: c.stdin, Name: o.Name, Changes: o.Changes, Message: o.Message,
		Platform: o.Platform, Progress: c.progress})
	if err != nil {
		return nil, err
	}
	return img.ID, nil
}

type rootfsRequest struct{ Image, ID string }

// rootfs makes a container's writable layer. A store without overlay copies
// the image, which only root of the namespace can do.
func (e *Engine) rootfs(ctx context.Context, img *storage.Image, id string) (r spec.Rootfs, err error) {
	r, err = e.images.Rootfs(img, e.dirs.Container(id))
	if errs.Is(err, errs.Denied) {
		err = e.inside(ctx, "rootfs", rootfsRequest{img.ID, id}, &r, nil, nil)
	}
	return r, err
}

func opRootfs(_ context.Context, c *insideCall) (any, error) {
	var r rootfsRequest
	if err := json.Unmarshal(c.request, &r); err != nil {
		return nil, err
	}
	if len(r.ID) != idLength || strings.ContainsAny(r.ID, "./") {
		return nil, errs.New(errs.Invalid, "no container id: %q", r.ID)
	}
	img, err := c.e.images.Resolve(r.Image)
	if err != nil {
		return nil, err
	}
	return c.e.images.Rootfs(img, c.e.dirs.Container(r.ID))
}
