// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/rootless/userns"
	"github.com/proa-containers/proa/storage/rootmount"
)

// Mounted is an image or a container that is mounted, for reading, in the mount
// namespace of the caller. Nobody else holds it: it ends with that namespace,
// which is the shell of "proa unshare".
type Mounted struct {
	ID    string
	Names []string // familiar names of an image, the name of a container
	Path  string
}

const (
	imageView     = "image-"
	containerView = "container-"
)

// viewable says whether a mount made here has an end and an owner. Of real root
// that cannot be told: whether a mount namespace is the host's, no call says.
func viewable(command string) error {
	switch {
	case userns.Inside():
		return nil
	case os.Geteuid() == 0:
		return errs.WithHint(errs.New(errs.Unsupported, "cannot run command %q as root: nobody would unmount it", "proa "+command),
			"run it in \"proa unshare\" of an unprivileged user; \"proa export\" shows the files of a container")
	}
	return errs.WithHint(errs.New(errs.Unsupported, "cannot run command %q in rootless mode, must execute `proa unshare` first", "proa "+command), "proa unshare")
}

// MountImage mounts an image, once.
func (e *Engine) MountImage(_ context.Context, ref string) (*Mounted, error) {
	if err := viewable("image mount"); err != nil {
		return nil, err
	}
	img, err := e.images.Resolve(ref)
	if err != nil {
		return nil, err
	}
	m := &Mounted{ID: img.ID, Names: imageSummary(&img.Summary).Names}
	m.Path, err = e.view(imageView+img.ID, func(dir string) error { return e.images.MountImage(img, dir) })
	return m, errs.Wrap(err, "mount image", ref)
}

// MountContainer mounts a container's root file system, once. It may be
// running.
func (e *Engine) MountContainer(ctx context.Context, ref string) (*Mounted, error) {
	if err := viewable("mount"); err != nil {
		return nil, err
	}
	c, b, err := e.withBody(ctx, ref)
	if err != nil {
		return nil, err
	}
	m := &Mounted{ID: c.ID, Names: []string{c.Name}}
	m.Path, err = e.view(containerView+c.ID, func(dir string) error { return e.images.MountContainer(b.Rootfs, dir) })
	return m, errs.Wrap(err, "mount container", c.Name)
}

// MountedImages lists what MountImage mounted in this mount namespace.
func (e *Engine) MountedImages(context.Context) ([]Mounted, error) {
	if err := viewable("image mount"); err != nil {
		return nil, err
	}
	list, err := e.views(imageView)
	for i := range list {
		if img, err := e.images.Resolve(list[i].ID); err == nil {
			list[i].Names = imageSummary(&img.Summary).Names
		}
	}
	return list, err
}

// MountedContainers lists what MountContainer mounted in this mount namespace.
func (e *Engine) MountedContainers(ctx context.Context) ([]Mounted, error) {
	if err := viewable("mount"); err != nil {
		return nil, err
	}
	list, err := e.views(containerView)
	for i := range list {
		if c, err := e.load(ctx, list[i].ID); err == nil {
			list[i].Names = []string{c.Name}
		}
	}
	return list, err
}

// UnmountImage undoes MountImage, and with force also while somebody uses it.
// It returns the image's id. Kind State: it is not mounted here.
func (e *Engine) UnmountImage(_ context.Context, ref string, force bool) (string, error) {
	if err := viewable("image unmount"); err != nil {
		return "", err
	}
	id := ref
	if img, err := e.images.Resolve(ref); err == nil {
		id = img.ID
	}
	return id, e.unview("image", ref, imageView+id, force)
}

// UnmountContainer undoes MountContainer in the same way.
func (e *Engine) UnmountContainer(ctx context.Context, ref string, force bool) (string, error) {
	if err := viewable("unmount"); err != nil {
		return "", err
	}
	id := ref
	c, err := e.load(ctx, ref)
	if err == nil {
		id = c.ID
	} else if !errs.Is(err, errs.NotFound) {
		return "", err
	}
	return id, e.unview("container", ref, containerView+id, force)
}

// view mounts something on a directory of that name, unless that is done. The
// directory lies in a tmpfs that only this mount namespace has, so that it goes
// with the mounts.
func (e *Engine) view(name string, mount func(dir string) error) (string, error) {
	base := e.dirs.Mounts()
	dir := filepath.Join(base, name)
	mounts, err := rootmount.Below(base)
	if err != nil {
		return "", err
	}
	own := false
	for _, m := range mounts {
		if m == dir {
			return dir, nil
		}
		own = own || m == base
	}
	if !own {
		if err := os.MkdirAll(base, 0o700); err != nil {
			return "", err
		}
		if err := unix.Mount("proa", base, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700,size=1m"); err != nil {
			return "", errs.Wrap(err, "mount a tmpfs at", base)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return "", err
	}
	if err := mount(dir); err != nil {
		_ = os.Remove(dir)
		return "", err
	}
	return dir, nil
}

func (e *Engine) views(kind string) ([]Mounted, error) {
	mounts, err := rootmount.Below(e.dirs.Mounts())
	if err != nil {
		return nil, err
	}
	var list []Mounted
	for _, m := range mounts {
		if id, ok := strings.CutPrefix(filepath.Base(m), kind); ok {
			list = append(list, Mounted{ID: id, Path: m})
		}
	}
	return list, nil
}

func (e *Engine) unview(what, ref, name string, force bool) error {
	dir := filepath.Join(e.dirs.Mounts(), name)
	list, err := rootmount.Below(dir)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errs.New(errs.State, "%s %s is not mounted", what, ref)
	}
	flags := 0
	if force {
		flags = unix.MNT_DETACH
	}
	if err := unix.Unmount(dir, flags); err != nil {
		return errs.WithHint(errs.New(errs.InUse, "cannot unmount %s %q: %w", what, ref, err), "leave the directory %s, or add --force", dir)
	}
	return os.Remove(dir)
}
