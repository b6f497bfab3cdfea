// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker/reference"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/index"
)

// Tag gives the image another name, taking it from whatever image had it.
func (s *Store) Tag(ctx context.Context, ref, name string) (err error) {
	named, err := imagename.Parse(name)
	if err != nil {
		return err
	}
	if _, ok := named.(reference.Digested); ok {
		return errs.New(errs.Invalid, "refusing to create a tag with a digest reference")
	}
	op, err := s.begin(false)
	if err != nil {
		return err
	}
	defer op.end(&err)
	img, err := s.Resolve(ref)
	if err != nil {
		return err
	}
	return op.store.AddNames(img.ID, []string{named.String()})
}

// Untag takes names (all without any) from an image without deleting it, and
// returns those taken, familiar.
func (s *Store) Untag(ctx context.Context, ref string, names ...string) (gone []string, err error) {
	s.makeRoom()
	op, err := s.begin(false)
	if err != nil {
		return nil, err
	}
	defer op.end(&err)
	img, err := s.Resolve(ref)
	if err != nil {
		return nil, err
	}
	left := refsOf(img)
	for _, n := range names {
		if _, err := imagename.Parse(n); err != nil {
			return nil, err
		}
		f := index.GivenName(img, n)
		if f == "" {
			return nil, errs.New(errs.NotFound, "the image has no name %q", n)
		}
		gone = append(gone, imagename.Familiar(f))
		left = left.without(f)
	}
	if len(names) == 0 {
		for _, n := range img.Names {
			gone = append(gone, imagename.Familiar(n))
		}
		left.names = nil
	}
	return gone, op.setRefs(img, left)
}

// refs are the names and the names by digest of an image.
type refs struct{ names, digests []string }

func refsOf(img *Image) refs { return refs{img.Names, img.RepoDigests} }

// without is r once a name or a name by digest is gone.
func (r refs) without(name string) refs {
	is := func(n string) bool { return n == name }
	return refs{slices.DeleteFunc(slices.Clone(r.names), is), slices.DeleteFunc(slices.Clone(r.digests), is)}
}

// afterRemoval is what stays of an image's references when one is removed. As in
// Docker the digests of a repository go with the last tag of it, and what has
// no name any more goes with the last digest that was asked for: an index and its
// image came as two.
func (r refs) afterRemoval(name string) refs {
	left := r.without(name)
	repo := repository(name)
	in := func(n string) bool { return repository(n) == repo }
	byTag := slices.Contains(r.names, name)
	if byTag && !slices.ContainsFunc(left.names, in) || !byTag && len(left.names) == 0 {
		left.digests = slices.DeleteFunc(left.digests, in)
	}
	return left
}

// repository is a complete name without tag and digest.
func repository(name string) string {
	n, err := imagename.Parse(name)
	if err != nil {
		return name
	}
	return n.Name()
}

// gone says that nothing is left to ask for the image by. A digest alone keeps it
// only from a removal by digest: names are what one sees.
func (r refs) gone(name string) bool {
	return len(r.names) == 0 && (len(r.digests) == 0 || !strings.Contains(name, "@"))
}

// setRefs takes those references from an image that are not left.
func (o *op) setRefs(img *Image, left refs) error {
	lost := slices.DeleteFunc(slices.Clone(img.Names), func(n string) bool { return slices.Contains(left.names, n) })
	if len(left.digests) < len(img.RepoDigests) {
		err := o.editDigests(img.ID, func([]string) []string { return left.digests })
		if err != nil {
			return err
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return o.store.RemoveNames(img.ID, lost)
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

// Lines are what Docker prints for it.
func (r *Removal) Lines() []string {
	var out []string
	for _, n := range r.Untagged {
		out = append(out, "Untagged: "+n)
	}
	for _, d := range r.Deleted {
		out = append(out, "Deleted: "+d)
	}
	return out
}

// Remove takes a name, or a name by digest, from an image, and deletes the image
// with its last one.
// Kind InUse: InUse said so, or an id was given and there are several names.
func (s *Store) Remove(ctx context.Context, ref string, o RemoveOptions) (out *Removal, err error) {
	s.makeRoom()
	op, err := s.begin(false)
	if err != nil {
		return nil, err
	}
	defer op.end(&err)
	img, err := s.Resolve(ref)
	if err != nil {
		return nil, err
	}
	out = &Removal{}
	name := index.GivenName(img, ref)
	if !Deletes(img, ref) {
		out.Untagged = []string{imagename.Familiar(name)}
		return out, op.setRefs(img, refsOf(img).afterRemoval(name))
	}
	if name == "" && len(img.Names) > 1 && !o.Force {
		return nil, errs.WithHint(errs.New(errs.InUse,
			"conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", img.ID[:12]),
			"remove it by its names, or use --force")
	}
	if o.InUse != nil {
		if why := o.InUse(img.ID); why != "" {
			return nil, errs.New(errs.InUse, "conflict: unable to delete %s - %s", shownRef(img, name), why)
		}
	}
	return out, op.remove(img, o, out)
}

// Deletes reports whether Remove would delete the image, not only take one of
// several names, or a name by digest, from it.
func Deletes(img *Image, ref string) bool {
	name := index.GivenName(img, ref)
	return name == "" || refsOf(img).afterRemoval(name).gone(name)
}

func shownRef(img *Image, name string) string {
	if name == "" {
		return img.ID[:12]
	}
	return imagename.Familiar(name)
}

// remove deletes an image and, as Docker does, the nameless parents that only
// it had.
func (o *op) remove(img *Image, ro RemoveOptions, out *Removal) error {
	for _, n := range img.Names {
		out.Untagged = append(out.Untagged, imagename.Familiar(n))
	}
	for _, d := range img.RepoDigests {
		out.Untagged = append(out.Untagged, imagename.Familiar(d))
	}
	gone, err := o.deleteImage(img.ID, img.TopLayer)
	if err != nil {
		return errs.Wrap(err, "delete image", img.ID[:12])
	}
	out.Deleted = append(out.Deleted, "sha256:"+img.ID)
	if img.List {
		return o.removeInstances(img.Instances, ro, out)
	}
	chains := chainIDs(img.DiffIDs)
	sizes := layerSizes(img)
	for i, l := range img.Layers { // topmost first
		if slices.Contains(gone, l) {
			n := len(img.Layers) - 1 - i
			out.Deleted = append(out.Deleted, chains[n])
			out.Size += sizes[n]
		}
	}
	if ro.NoPrune || img.Parent == "" {
		return nil
	}
	if err := o.s.Refresh(); err != nil {
		return err
	}
	parent, err := o.s.Resolve(img.Parent)
	if err != nil || len(parent.Names) > 0 || !parent.Intermediate {
		return nil
	}
	if list, err := o.s.List(); err != nil || hasChild(list, parent.ID) {
		return err
	}
	if ro.InUse != nil && ro.InUse(parent.ID) != "" {
		return nil
	}
	return o.remove(parent, ro, out)
}

func hasChild(list []Summary, id string) bool {
	return slices.ContainsFunc(list, func(m Summary) bool { return m.Parent == id })
}

// chainIDs are the identifiers of the image specification for a stack of
// layers, the lowest first.
func chainIDs(diffIDs []string) []string {
	var out []string
	chain := ""
	for _, d := range diffIDs {
		if chain == "" {
			chain = d
		} else {
			chain = digest.FromString(chain + " " + d).String()
		}
		out = append(out, chain)
	}
	return out
}

// layerSizes are the bytes of each layer, the lowest first.
func layerSizes(img *Image) []int64 {
	out := make([]int64, len(img.DiffIDs))
	copy(out, img.LayerSizes)
	return out
}

// PruneOptions select what Prune removes.
type PruneOptions struct {
	All   bool                   // also images with a name that nothing uses
	Keep  func(*Summary) bool    // filters: true keeps the image; nil: none
	InUse func(id string) string // as in RemoveOptions
}

// Prune removes unused images: those without a name, or all.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (out *Removal, err error) {
	s.makeRoom()
	op, err := s.begin(false)
	if err != nil {
		return nil, err
	}
	defer op.end(&err)
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	out = &Removal{}
	inList := index.InLists(list)
	for i := range list {
		m := &list[i]
		switch {
		case inList[m.ID] && len(m.Names) == 0:
			continue // goes with its list
		case len(m.Names) > 0 && !o.All:
			continue
		case m.Intermediate && hasChild(list, m.ID) && !o.All:
			continue
		case o.Keep != nil && o.Keep(m):
			continue
		case o.InUse != nil && o.InUse(m.ID) != "":
			continue
		}
		img, err := s.Image(m.ID)
		if notExist(err) {
			continue // went with a child
		}
		if err != nil {
			return out, err
		}
		if err := op.remove(img, RemoveOptions{NoPrune: true, InUse: o.InUse}, out); err != nil {
			return out, err
		}
	}
	return out, nil
}
