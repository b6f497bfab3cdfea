// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/spec"
)

// resolveMounts gives anonymous volumes names, adds the image's volumes, and
// checks that the host's directories exist. The names become part of the
// stored specification: a restarted container finds its volumes again.
func (e *Engine) resolveMounts(_ context.Context, d *draft) error {
	c := &d.body.Spec
	targets := map[string]bool{}
	list := make([]spec.Mount, 0, len(c.Mounts))
	for _, m := range c.Mounts {
		t := path.Clean(m.Target)
		if targets[t] {
			return errs.New(errs.Invalid, "Duplicate mount point: %s", m.Target)
		}
		targets[t] = true
		list = append(list, m)
	}
	for _, v := range d.body.Image.Volumes {
		// A relative one, as the slip VOLUME [/data] makes, is meant from the root.
		if t := path.Join("/", v); !targets[t] {
			targets[t] = true
			list = append(list, spec.Mount{Type: spec.MountVolume, Target: t})
		}
	}
	for i := range list {
		m := &list[i]
		switch m.Type {
		case spec.MountVolume:
			if err := e.draftVolume(d, m); err != nil {
				return err
			}
		case spec.MountBind:
			if err := e.checkBind(m); err != nil {
				return err
			}
		}
	}
	c.Mounts = list
	return nil
}

func (e *Engine) draftVolume(d *draft, m *spec.Mount) error {
	if m.Driver != "" && m.Driver != "local" {
		return errs.WithHint(errs.New(errs.Unsupported, "volume driver %q is not available", m.Driver), "use the driver local")
	}
	if len(m.DriverOpts) > 0 {
		return errs.WithHint(errs.New(errs.Unsupported, "options of a volume driver are not available"), "mount the directory with -v /DIRECTORY:%s", m.Target)
	}
	v := &state.Volume{Name: m.Source, Driver: "local", Created: time.Now().UTC(), Labels: m.Labels}
	if v.Name == "" {
		name, err := anonymousName()
		if err != nil {
			return err
		}
		v.Name, v.Anonymous = name, true
		m.Source, m.Anonymous = name, true
	}
	if !validName.MatchString(v.Name) {
		return errs.WithHint(errs.New(errs.Invalid, "\"%s\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed", v.Name),
			"to mount a host directory, write its absolute path")
	}
	d.volumes = append(d.volumes, v)
	return nil
}

func anonymousName() (string, error) {
	raw := make([]byte, 32)
	_, err := rand.Read(raw)
	return hex.EncodeToString(raw), err
}

// checkBind refuses a missing host directory, or makes it as -v does.
func (e *Engine) checkBind(m *spec.Mount) error {
	if !filepath.IsAbs(m.Source) {
		abs, err := filepath.Abs(m.Source)
		if err != nil {
			return err
		}
		m.Source = abs
	}
	_, err := os.Stat(m.Source)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist) && m.CreateSource:
		if err := os.MkdirAll(m.Source, 0o755); err != nil {
			return errs.Wrap(err, "create", m.Source)
		}
		e.notice("created the missing directory " + m.Source)
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return errs.WithHint(errs.New(errs.Invalid, "invalid mount config for type \"bind\": bind source path does not exist: %s", m.Source),
			"mkdir -p %s, or use -v, which makes it", m.Source)
	}
	return errs.Wrap(err, "mount", m.Source)
}

// volumeData is where a volume's files are.
func (e *Engine) volumeData(name string) string {
	return filepath.Join(e.dirs.Volumes(), name, "_data")
}

func (e *Engine) makeVolumeDir(name string) error {
	p := e.volumeData(name)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return errs.Wrap(err, "create volume", name)
	}
	if err := os.Mkdir(p, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return errs.Wrap(err, "create volume", name)
	}
	return nil
}

// hostMounts turns the stored mounts into paths, and tells the monitor which
// volumes to prepare.
func (e *Engine) hostMounts(c *spec.Container) (mounts []spec.Mount, volumes []monitor.VolumeMount, err error) {
	for _, m := range c.Mounts {
		if m.Type == spec.MountVolume {
			root := e.volumeData(m.Source)
			m.Source = root
			if m.Subpath != "" {
				if m.Source, err = below(root, m.Subpath); err != nil {
					return nil, nil, err
				}
			}
			volumes = append(volumes, monitor.VolumeMount{Dir: filepath.Dir(root), HostPath: root, Target: m.Target, Subpath: m.Subpath,
				CopyUp: !m.NoCopy && m.Subpath == "", Chown: m.Chown && m.Subpath == ""})
		} else if m.Type == spec.MountBind && m.Chown {
			volumes = append(volumes, monitor.VolumeMount{HostPath: m.Source, Target: m.Target, Chown: true})
		}
		mounts = append(mounts, m)
	}
	return mounts, volumes, nil
}

// below is root/sub, refused where it leads out of the volume. It serves the
// message: what is mounted the monitor looks up, and a container cannot
// exchange that.
func below(root, sub string) (string, error) {
	p := filepath.Join(root, filepath.Clean("/"+sub))
	real, err := filepath.EvalSymlinks(p)
	if errors.Is(err, fs.ErrPermission) {
		return p, nil // a directory of another id: only the monitor may look into it
	}
	if err != nil {
		return "", errs.New(errs.Invalid, "cannot access volume subpath %q: %v", sub, err)
	}
	if base, err := filepath.EvalSymlinks(root); err != nil || real != base && !strings.HasPrefix(real, base+"/") {
		return "", errs.New(errs.Invalid, "volume subpath %q leads out of the volume", sub)
	}
	return real, nil
}
