// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/failpoint"
	"github.com/proa-containers/proa/pkg/filelock"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/names"
	"github.com/proa-containers/proa/pkg/ocispec"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/storage"
)

// idLength is the number of hex digits of a container's id.
const idLength = 64

// CreateOptions say how a missing image is reported.
type CreateOptions struct {
	Progress io.Writer     // as in RunOptions
	Registry RemoteOptions // that of a missing image
}

// Create makes a container in the state created, pulling its image where
// c.Pull says so. An interrupted Create leaves nothing behind.
func (e *Engine) Create(ctx context.Context, c *spec.Container, o CreateOptions) (id string, err error) {
	d, err := e.draft(ctx, c, PullOptions{RemoteOptions: o.Registry, Progress: o.Progress})
	if err != nil {
		return "", err
	}
	defer d.close()
	// Nothing is started: build the configuration only to refuse now what
	// `start` would refuse later.
	if err := e.checkSpec(ctx, d); err != nil {
		return "", errors.Join(err, e.abandon(ctx, d))
	}
	if err := e.reserve(ctx, d); err != nil {
		return "", errors.Join(err, e.abandon(ctx, d))
	}
	err = e.rewrite(d.row, &d.body.Rootfs, state.Event{}, func(r *lifecycle.Record) { r.State = lifecycle.Created })
	if err != nil {
		return "", errors.Join(err, e.abandon(ctx, d))
	}
	if err := failpoint.Hit(FailpointCreateCommitted); err != nil {
		return "", err
	}
	return d.row.ID, os.RemoveAll(e.dirs.ContainerRun(d.row.ID))
}

// draft is a container that is being made by this process: it holds its locks.
type draft struct {
	row     *state.Container
	body    state.Body
	image   *storage.Image
	volumes []*state.Volume
	lock    *rundir.Hold
	images  *os.File // shared lock against rmi, until the record names the image
	// reserved says that there is a record.
	reserved bool
}

func (d *draft) close() {
	if d.lock != nil {
		_ = d.lock.Close()
	}
	if d.images != nil {
		_ = d.images.Close()
	}
	d.lock, d.images = nil, nil
}

// draft finds the image, pulling it where that is wanted, and works out what
// the container will be. Nothing is on disk yet but the two locked
// directories.
func (e *Engine) draft(ctx context.Context, c *spec.Container, pull PullOptions) (*draft, error) {
	if err := checkRequest(c); err != nil {
		return nil, err
	}
	d := &draft{}
	d.body.Spec = *c
	if err := e.discardPorts(&d.body.Spec.Network); err != nil {
		return nil, err
	}
	if err := e.findImage(ctx, d, pull); err != nil {
		d.close()
		return nil, err
	}
	if err := e.fill(ctx, d); err != nil {
		d.close()
		return nil, err
	}
	var err error
	if d.lock, err = rundir.LockNew(e.paths(d.row.ID)); err != nil {
		d.close()
		return nil, err
	}
	if err := failpoint.Hit(FailpointCreateLocked); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// checkRequest refuses what no image can make right.
func checkRequest(c *spec.Container) error {
	if c.Name != "" && !validName.MatchString(strings.TrimPrefix(c.Name, "/")) {
		return errs.New(errs.Invalid, "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", c.Name)
	}
	if c.Lifecycle.AutoRemove && c.Lifecycle.Restart.Name != "" && c.Lifecycle.Restart.Name != "no" {
		return errs.New(errs.Invalid, "Conflicting options: cannot specify both --restart and --rm")
	}
	if p := c.Lifecycle.CIDFile; p != "" {
		if _, err := os.Lstat(p); err == nil {
			return errs.WithHint(errs.New(errs.Exists, "container ID file found, make sure the other container isn't running or delete %s", p), "rm %s", p)
		}
	}
	return nil
}

// findImage resolves the image and keeps it from being removed until the
// record names it.
func (e *Engine) findImage(ctx context.Context, d *draft, pull PullOptions) error {
	c := &d.body.Spec
	how := unix.LOCK_SH
	if wantsAutoIDs(c) {
		how = unix.LOCK_EX
	}
	var err, missing error
	if d.images, err = e.lockImages(ctx, how); err != nil {
		return err
	}
	switch c.Pull {
	case spec.PullAlways, spec.PullNewer:
	default:
		remote := ""
		d.image, remote, err = e.resolveFor(c.Image, c.Platform)
		if remote != "" {
			return e.pullInto(ctx, d, remote, how, pull)
		}
		if err == nil && e.fits(d.image, c.Platform) {
			return nil
		}
		if err != nil && !errs.Is(err, errs.NotFound) {
			return err
		}
		if c.Pull == spec.PullNever {
			never := errs.WithHint(errs.New(errs.NotFound, "No such image: %s", withTag(c.Image)), "proa pull %s", c.Image)
			return orMeant(never, err)
		}
		missing = err
		if pull.Progress != nil {
			fmt.Fprintf(pull.Progress, "Unable to find image '%s' locally\n", withTag(c.Image))
		}
	}
	return orMeant(e.pullInto(ctx, d, c.Image, how, pull), missing)
}

// orMeant adds to the hint of a failed pull that an image of the store has a
// similar name, as the error says about the one that is missing there.
func orMeant(err, missing error) error {
	like := errs.HintOf(missing)
	if err == nil || like == "" || errors.Is(err, context.Canceled) {
		return err
	}
	if own := errs.HintOf(err); own != "" {
		like += " Else: " + own
	}
	return errs.WithHint(err, "%s", like)
}

// resolveFor finds an image of the store; of a manifest list that for the
// platform. Where the list only names it at a registry, remote is the name
// there.
func (e *Engine) resolveFor(ref, platform string) (img *storage.Image, remote string, err error) {
	img, err = e.images.Resolve(ref)
	if err != nil || !img.List {
		return img, "", err
	}
	return e.images.Instance(img, platform)
}

func (e *Engine) pullInto(ctx context.Context, d *draft, ref string, how int, pull PullOptions) error {
	c := &d.body.Spec
	// A pull takes long and must not hold rmi up.
	_ = d.images.Close()
	pull.Platform, pull.Policy = c.Platform, c.Pull
	id, err := e.Pull(ctx, ref, pull)
	if err != nil {
		return err
	}
	if d.images, err = e.lockImages(ctx, how); err != nil {
		return err
	}
	d.image, err = e.images.Resolve(id)
	return err
}

// fits reports whether an image in the store is of the wanted platform.
func (e *Engine) fits(img *storage.Image, platform string) bool {
	if platform == "" {
		return true
	}
	p := strings.Split(platform, "/")
	if len(p) == 1 {
		p = []string{"linux", p[0]}
	}
	return (img.OS == "" || p[0] == img.OS) && (img.Architecture == "" || p[1] == img.Architecture) &&
		(len(p) < 3 || spec.VariantServes(p[1], img.Variant, p[2]))
}

func withTag(name string) string {
	base := name[strings.LastIndexByte(name, '/')+1:]
	if strings.ContainsAny(base, ":@") {
		return name
	}
	return name + ":latest"
}

// lockImages holds off rmi (LOCK_SH) or everybody who makes a container
// (LOCK_EX). It is held for some milliseconds only. It lies where the images
// are: whoever shares them may have another runtime directory.
func (e *Engine) lockImages(ctx context.Context, how int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(e.dirs.Data, "images.lock"), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, errs.Wrap(err, "lock the images", "")
	}
	if err := filelock.Until(ctx, f, how); err != nil {
		f.Close()
		return nil, errs.Wrap(err, "lock the images", "")
	}
	return f, nil
}

// newID makes up a container's id.
func newID() string {
	raw := make([]byte, idLength/2)
	_, _ = rand.Read(raw) // never fails on Linux
	id := hex.EncodeToString(raw)
	if strings.Trim(id[:12], "0123456789") == "" {
		id = "a" + id[1:] // twelve digits only would pass for a number
	}
	return id
}

// fill works out the record of a container from the request and the image.
func (e *Engine) fill(ctx context.Context, d *draft) error {
	c := &d.body.Spec
	d.body.Image = d.image.Config
	id := newID()
	c.Name = strings.TrimPrefix(c.Name, "/")
	if err := e.resolveMounts(ctx, d); err != nil {
		return err
	}
	if err := checkImage(c, &d.body.Image); err != nil {
		return err
	}
	ports := exposed(c, &d.body.Image)
	if err := publish(c, ports); err != nil {
		return err
	}
	if err := e.checkLogging(d, id); err != nil {
		return err
	}
	args, err := ocispec.Args(&c.Process, &d.body.Image)
	if err != nil {
		return err
	}
	d.row = &state.Container{
		ID: id, Name: c.Name, Created: time.Now().UTC(), Image: c.Image, ImageID: d.image.ID, Command: args,
		Labels: mergeLabels(d.body.Image.Labels, c.Labels), Ports: c.Network.Ports, Exposed: portTexts(ports),
		Networks: networkNames(&c.Network), AutoRemove: c.Lifecycle.AutoRemove, Restart: c.Lifecycle.Restart.Name,
		Record: lifecycle.Record{State: lifecycle.Creating, Place: e.here(&monitor.Status{})},
	}
	for _, m := range d.body.Spec.Mounts {
		if m.Type != spec.MountTmpfs {
			d.row.Mounts = append(d.row.Mounts, m.Source)
		}
	}
	return e.resolveJoins(ctx, d)
}

func mergeLabels(image, own map[string]string) map[string]string {
	if len(image) == 0 {
		return own
	}
	m := make(map[string]string, len(image)+len(own))
	for k, v := range image {
		m[k] = v
	}
	for k, v := range own {
		m[k] = v
	}
	return m
}

func networkNames(n *spec.Network) []string {
	switch n.Mode {
	case "", spec.NetBridge:
		if len(n.Networks) == 0 {
			return []string{string(spec.NetBridge)}
		}
		list := make([]string, len(n.Networks))
		for i, a := range n.Networks {
			list[i] = a.Name
		}
		return list
	case spec.NetContainer:
		return nil
	}
	return []string{string(n.Mode)}
}

// reserve makes the record, and then what it stands for: whoever finds the
// record in the state creating, and nobody at work, removes all of it.
func (e *Engine) reserve(ctx context.Context, d *draft) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db, err := e.db()
	if err != nil {
		return err
	}
	if err := e.reserveAutoIDs(db, &d.body.Spec); err != nil {
		return err
	}
	if err := e.insert(ctx, db, d); err != nil {
		return err
	}
	d.reserved = true
	_ = d.images.Close()
	d.images = nil
	if err := failpoint.Hit(FailpointCreateReserved); err != nil {
		return err
	}
	if d.body.Rootfs, err = e.rootfs(ctx, d.image, d.row.ID); err != nil {
		return err
	}
	if err := failpoint.Hit(FailpointCreateDirs); err != nil {
		return err
	}
	for _, v := range d.volumes {
		if err := e.makeVolumeDir(v.Name); err != nil {
			return err
		}
	}
	if err := failpoint.Hit(FailpointCreateVolumes); err != nil {
		return err
	}
	return writeCIDFile(d.body.Spec.Lifecycle.CIDFile, d.row.ID)
}

// insert adds the record under the wanted name, or under random ones until one
// is free. A name whose container is only waiting to be cleared away is free.
func (e *Engine) insert(ctx context.Context, db *state.DB, d *draft) error {
	random := d.row.Name == ""
	for try := 0; ; try++ {
		if random {
			d.row.Name = names.Random(try)
			d.body.Spec.Name = d.row.Name
		}
		err := db.Insert(d.row, &d.body, d.volumes, containerEvent(d.row, "create"))
		var taken *state.NameTaken
		if !errors.As(err, &taken) {
			return err
		}
		if random && try < 100 {
			continue
		}
		if try > 0 && !random {
			return conflict(taken)
		}
		holder, err := db.Get(taken.ID)
		if err != nil {
			return err
		}
		if holder != nil {
			if c, err := e.reconcile(ctx, holder); err != nil || c != nil {
				return errors.Join(conflict(taken), err)
			}
		}
	}
}

// conflict is the error for a taken name. Users paste the hint, so it destroys nothing.
func conflict(t *state.NameTaken) error {
	return errs.WithHint(errs.New(errs.Exists, "Conflict. The container name \"/%s\" is already in use by container \"%s\". "+
		"You have to remove (or rename) that container to be able to reuse that name.", t.Name, t.ID),
		"proa start %s runs it again, proa rename %s OTHER frees the name, --replace removes it first", t.Name, t.Name)
}

func writeCIDFile(path, id string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return errs.WithHint(errs.New(errs.Exists, "container ID file found, make sure the other container isn't running or delete %s", path), "rm %s", path)
	}
	if err != nil {
		return errs.Wrap(err, "write container id to", path)
	}
	_, err = f.WriteString(id)
	return errs.Wrap(errors.Join(err, f.Close()), "write container id to", path)
}

// abandon undoes a draft. It runs to its end even if the user has lost
// patience: that is what an interruption asks for.
func (e *Engine) abandon(ctx context.Context, d *draft) error {
	ctx = context.WithoutCancel(ctx)
	if d.reserved {
		return e.destroy(ctx, d.row, true)
	}
	return errors.Join(e.removeTree(ctx, e.dirs.Container(d.row.ID)), os.RemoveAll(e.dirs.ContainerRun(d.row.ID)))
}
