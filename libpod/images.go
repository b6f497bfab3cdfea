// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"io"
	"time"

	"github.com/proa-containers/proa/pkg/spec"
)

// PullOptions say what to fetch and where its progress goes.
type PullOptions struct {
	Platform string // os/arch[/variant]; empty: the host's
	AllTags  bool
	Quiet    bool
	// Policy is always unless set (pull asks the registry by default).
	Policy    spec.PullPolicy
	TLSVerify *bool     // nil: as registries.conf says
	Progress  io.Writer // Docker's lines, or bars on a terminal; nil: nothing
}

// Pull fetches an image and returns its id. A killed Pull leaves no half image.
func (e *Engine) Pull(ctx context.Context, ref string, o PullOptions) (id string, err error) {
	return "", todo()
}

// ImageListOptions select images.
type ImageListOptions struct {
	All     bool
	Filters map[string][]string // dangling, label, before, since, reference, until
	Ref     string              // repository[:tag] pattern; empty: all
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
func (e *Engine) Images(ctx context.Context, o ImageListOptions) ([]ImageSummary, error) {
	return nil, todo()
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
	LayerDirs    []string // on the host, topmost first
}

// ImageHistory is one line of an image's history, the oldest first.
type ImageHistory struct {
	Created    time.Time
	CreatedBy  string
	Comment    string
	EmptyLayer bool
	Size       int64
}

// ImageInspect returns everything known about one image: by name, id or unique
// prefix of an id.
func (e *Engine) ImageInspect(ctx context.Context, ref string) (*ImageDetails, error) {
	return nil, todo()
}

// Tag gives the image another name, taking it from whatever image had it.
func (e *Engine) Tag(ctx context.Context, ref, name string) error { return todo() }

// Untag takes names (all without any) from an image without deleting it.
func (e *Engine) Untag(ctx context.Context, ref string, names ...string) error { return todo() }

// RemoveImageOptions say what `rmi` may destroy.
type RemoveImageOptions struct {
	Force   bool // also where a stopped container uses it: the container goes too
	NoPrune bool // keep untagged parents
	Ignore  bool // a missing image is no error
}

// ImageRemoval is what one RemoveImage did, in Docker's order.
type ImageRemoval struct {
	Untagged []string
	Deleted  []string // "sha256:..."
}

// RemoveImage takes a name from an image and deletes the image with its last name.
func (e *Engine) RemoveImage(ctx context.Context, ref string, o RemoveImageOptions) (*ImageRemoval, error) {
	return nil, todo()
}

// LoadOptions say where an archive comes from.
type LoadOptions struct {
	Path     string    // of the archive or OCI directory; empty: Input
	Input    io.Reader // read to its end
	Quiet    bool
	Progress io.Writer
}

// LoadedImage is one image that Load added.
type LoadedImage struct {
	ID    string
	Names []string
}

// Load adds the images of a docker-archive, oci-archive or OCI directory,
// compressed or not.
func (e *Engine) Load(ctx context.Context, o LoadOptions) ([]LoadedImage, error) {
	return nil, todo()
}

// ImportOptions describe the image that Import makes of a file tree.
type ImportOptions struct {
	Path     string    // of the tar archive, or a http(s) URL; empty: Input
	Input    io.Reader // with an empty Path
	Name     string    // repository[:tag]; empty: none
	Changes  []string  // Dockerfile instructions: CMD, ENV, ...
	Message  string
	Platform string
	Progress io.Writer
}

// Import makes an image of a tar archive of a root file system.
func (e *Engine) Import(ctx context.Context, o ImportOptions) (id string, err error) {
	return "", todo()
}
