// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/storage/changes"
	"github.com/proa-containers/proa/storage/imagename"
	"github.com/proa-containers/proa/storage/index"
	"github.com/proa-containers/proa/storage/pack"
)

// CommitOptions describe the image that Commit makes of a container.
type CommitOptions struct {
	Image   string // id of the container's image
	Upper   string // the container's writable layer
	Fuse    bool   // fuse-overlayfs wrote it
	Config  *dockerspec.DockerOCIImageConfig
	Changes []string // Dockerfile instructions, applied to Config
	// Command is what the container ran: the history shows it.
	Command string
	Author  string
	Message string
	Name    string     // repository[:tag]; empty: none
	Epoch   *time.Time // no file and no date is newer; nil: now
	// Squash makes one layer of all: of this container's file system.
	Squash *spec.Rootfs
	Docker bool // Docker's manifest instead of the OCI one
	// Skip are paths that are no change of the container's own.
	Skip map[string]bool `json:"-"`
}

// Commit makes an image of a container: its image's layers and one more with
// its changes. The container may be running; pausing it is the caller's choice.
func (s *Store) Commit(ctx context.Context, o CommitOptions) (*Image, error) {
	base, err := s.Resolve(o.Image)
	if err != nil {
		return nil, err
	}
	raw, err := s.RawConfig(base)
	if err != nil {
		return nil, err
	}
	var c dockerspec.DockerOCIImage
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, errs.New(errs.Corrupt, "cannot read the configuration of image %s: %w", base.ID[:12], err)
	}
	if o.Config != nil {
		c.Config = *o.Config
	}
	if err := changes.Apply(&c.Config, o.Changes); err != nil {
		return nil, err
	}
	var names []string
	if o.Name != "" {
		n, err := imagename.Normalize(o.Name)
		if err != nil {
			return nil, err
		}
		names = []string{n}
	}
	now := time.Now().UTC()
	if o.Epoch != nil {
		now = o.Epoch.UTC()
	}
	c.Created = &now
	if o.Author != "" {
		c.Author = o.Author
	}
	h := historyOf(now, o.Command, o.Message, false)
	h.Author = o.Author
	if o.Squash != nil {
		c.History = nil
	}
	c.History = append(c.History, h)
	id, err := s.commitUpper(ctx, o, CreateOptions{Config: c, Comment: o.Message, Names: names, Parent: base.ID, Top: s.TopLayer(base), Docker: o.Docker})
	if err != nil {
		return nil, err
	}
	return s.Resolve(id)
}

func (s *Store) commitUpper(ctx context.Context, o CommitOptions, c CreateOptions) (id string, err error) {
	op, err := s.begin(false)
	if err != nil {
		return "", err
	}
	defer op.end(&err)
	dir, po := o.Upper, pack.Options{Epoch: o.Epoch, Skip: o.Skip, Layer: true, Fuse: o.Fuse}
	if o.Squash != nil {
		var release func() error
		if dir, release, err = s.MountView(*o.Squash, false); err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, release()) }()
		c.Top, po.Fuse = Layer{}, false
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(pack.Tar(pw, dir, po)) }()
	defer pr.Close()
	if c.Top, err = op.addLayer(pr, c.Top, index.LayerImage); err != nil {
		return "", err
	}
	return op.create(ctx, c)
}

// Changes lists what a container changed, as `diff` shows it, from its writable
// layer and its image. fuse says that fuse-overlayfs wrote that layer.
func (s *Store) Changes(img *Image, upper string, fuse bool) ([]pack.Change, error) {
	return pack.Changes(upper, s.LayerDirs(img), fuse)
}
