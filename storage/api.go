// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"io"

	"github.com/proa-containers/proa/pkg/errs"
)

// LoadOptions say where an archive comes from.
type LoadOptions struct {
	Path     string    // archive or OCI directory; empty: Input
	Input    io.Reader // read to its end
	Progress Progress
}

// Loaded is one image that Load added.
type Loaded struct {
	ID    string
	Names []string // familiar: alpine:latest; empty: the archive names none
}

// Line is what Docker prints for it.
func (l Loaded) Lines() []string {
	if len(l.Names) == 0 {
		return []string{"Loaded image ID: sha256:" + l.ID}
	}
	var out []string
	for _, n := range l.Names {
		out = append(out, "Loaded image: "+n)
	}
	return out
}

// Load adds the images of a docker-archive, an oci-archive or an OCI
// directory; archives may be compressed.
func (s *Store) Load(ctx context.Context, o LoadOptions) ([]Loaded, error) { return nil, todo() }

// ImportOptions describe the image that Import makes.
type ImportOptions struct {
	Path     string    // a tar archive or a http(s) URL; empty: Input
	Input    io.Reader // with an empty Path
	Name     string    // repository[:tag]; empty: none
	Changes  []string  // Dockerfile instructions: CMD, ENV, ...
	Message  string
	Platform string
	Progress Progress
}

// Import makes an image of a tar archive of a root file system.
func (s *Store) Import(ctx context.Context, o ImportOptions) (*Image, error) { return nil, todo() }

// Tag gives the image another name, taking it from whatever image had it.
func (s *Store) Tag(ctx context.Context, ref, name string) error { return todo() }

// Untag takes names (all without any) from an image without deleting it, and
// returns those taken, familiar.
func (s *Store) Untag(ctx context.Context, ref string, names ...string) ([]string, error) {
	return nil, todo()
}

// RemoveOptions say what Remove may destroy.
type RemoveOptions struct {
	Force   bool // also with several names
	NoPrune bool // keep untagged parents
	// InUse says what uses an image (id): a sentence for the error, such as
	// "container 0a1b2c3d4e5f is using it", or "". nil: nothing does.
	InUse func(id string) string
}

// Removal is what one Remove did, in Docker's order.
type Removal struct {
	Untagged []string // familiar names and name@sha256:...
	Deleted  []string // sha256:...
	Size     int64    // bytes given back
}

// Remove takes a name from an image, and deletes the image with its last name.
// Kind InUse: InUse said so, or an id was given and there are several names.
func (s *Store) Remove(ctx context.Context, ref string, o RemoveOptions) (*Removal, error) {
	return nil, todo()
}

// PruneOptions select what Prune removes.
type PruneOptions struct {
	All   bool                   // also images with a name that nothing uses
	Keep  func(*Summary) bool    // filters: true keeps the image; nil: none
	InUse func(id string) string // as in RemoveOptions
}

// Prune removes unused images: those without a name, or all.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (*Removal, error) { return nil, todo() }

func todo() error { return errs.New(errs.Internal, "not written yet") }
