// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
)

// Parts are the directories of volumes (subpath), each mounted in the monitor's
// own mount namespace at a place that no container sees.
//
// libcontainer takes the source of a mount by path. Had it the path in the
// volume, another container could exchange a directory of it for a link, and
// the mount, and the mount points below it, would be the host's.
type Parts struct {
	places   []string
	replaced []replaced
}

type replaced struct {
	mount  *configs.Mount
	source string
}

// MountParts looks each part up, links resolved inside its volume, mounts what
// it found below dir, and makes that the source of its mount. Close after the
// container is created, which then has mounts of its own.
func MountParts(dir string, volumes []monitor.VolumeMount, mounts []*configs.Mount) (*Parts, error) {
	p := &Parts{}
	for _, v := range volumes {
		if v.Subpath == "" {
			continue
		}
		place, err := p.mount(dir, v)
		if err != nil {
			return nil, errors.Join(errs.Wrap(err, "open volume subpath", v.Subpath), p.Close())
		}
		i := slices.IndexFunc(mounts, func(m *configs.Mount) bool { return m.Destination == path.Clean(v.Target) })
		if i < 0 {
			return nil, errors.Join(errs.New(errs.Invalid, "nothing is mounted at %s", v.Target), p.Close())
		}
		p.replaced = append(p.replaced, replaced{mounts[i], mounts[i].Source})
		mounts[i].Source = place
	}
	return p, nil
}

// mount mounts the part that v names at a new place below dir.
func (p *Parts) mount(dir string, v monitor.VolumeMount) (string, error) {
	h, err := pathrs.OpenInRoot(v.HostPath, v.Subpath)
	if err != nil {
		return "", err
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return "", err
	}
	place := filepath.Join(dir, "part-"+strconv.Itoa(len(p.places)))
	if err := makePlace(place, st.IsDir()); err != nil {
		return "", err
	}
	p.places = append(p.places, place)
	source := "/proc/self/fd/" + strconv.Itoa(int(h.Fd()))
	return place, os.NewSyscallError("mount", unix.Mount(source, place, "", unix.MS_BIND|unix.MS_REC, ""))
}

func makePlace(place string, isDir bool) error {
	if isDir {
		return os.Mkdir(place, 0o700)
	}
	f, err := os.OpenFile(place, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Close removes the places and gives the mounts their sources again.
func (p *Parts) Close() (err error) {
	for _, place := range p.places {
		_ = unix.Unmount(place, unix.MNT_DETACH) // not mounted after a failure
		err = errors.Join(err, os.Remove(place))
	}
	for _, r := range p.replaced {
		r.mount.Source = r.source
	}
	p.places, p.replaced = nil, nil
	return err
}
