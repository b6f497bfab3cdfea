// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// Volume is a directory that outlives containers.
type Volume struct {
	Name       string
	Driver     string // local
	Mountpoint string // on the host
	Created    time.Time
	Labels     map[string]string
	Options    map[string]string
	Anonymous  bool
	Containers []string // ids that use it
}

func (e *Engine) volume(v *state.Volume) Volume {
	return Volume{Name: v.Name, Driver: v.Driver, Mountpoint: e.volumeData(v.Name), Created: v.Created, Labels: v.Labels, Options: v.Options,
		Anonymous: v.Anonymous, Containers: v.Users}
}

// VolumeCreate makes a volume; an empty name makes an anonymous one. An
// existing volume of that name is returned as it is.
func (e *Engine) VolumeCreate(ctx context.Context, v Volume) (*Volume, error) {
	if v.Driver != "" && v.Driver != "local" {
		return nil, errs.WithHint(errs.New(errs.Unsupported, "volume driver %q is not available", v.Driver), "use the driver local")
	}
	if len(v.Options) > 0 {
		return nil, errs.WithHint(errs.New(errs.Unsupported, "options of the volume driver local are not available"), "mount the directory with -v /DIRECTORY:/TARGET")
	}
	if v.Name == "" {
		name, err := anonymousName()
		if err != nil {
			return nil, err
		}
		v.Name, v.Anonymous = name, true
	}
	if !validName.MatchString(v.Name) {
		return nil, errs.New(errs.Invalid, "\"%s\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed", v.Name)
	}
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	if _, err := db.AddVolume(&state.Volume{Name: v.Name, Driver: "local", Created: time.Now().UTC(), Labels: v.Labels, Anonymous: v.Anonymous}); err != nil {
		return nil, err
	}
	if err := e.makeVolumeDir(v.Name); err != nil {
		return nil, err
	}
	return e.VolumeInspect(ctx, v.Name)
}

// Volumes lists the volumes by name, those that match the filters (VolumeFilters).
func (e *Engine) Volumes(_ context.Context, filters map[string][]string) ([]Volume, error) {
	f := &filter{values: filters}
	for k, values := range filters {
		if !spec.HasOption(VolumeFilters, k) {
			return nil, spec.UnknownFilter(k, VolumeFilters)
		}
		for _, v := range values {
			if k != "until" && k != "name" {
				break
			}
			if err := f.add(k, v); err != nil {
				return nil, err
			}
		}
	}
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	rows, err := db.Volumes()
	if err != nil {
		return nil, err
	}
	var list []Volume
	for _, r := range rows {
		v := e.volume(r)
		keep := func(key string, ok func(string) bool) bool {
			return len(filters[key]) == 0 || slices.ContainsFunc(filters[key], ok)
		}
		if (len(f.names) == 0 || slices.ContainsFunc(f.names, func(re *regexp.Regexp) bool { return re.MatchString(v.Name) })) &&
			keep("driver", func(x string) bool { return v.Driver == x }) &&
			keep("dangling", func(x string) bool { return (x == "true" || x == "1") == (len(v.Containers) == 0) }) &&
			keep("scope", func(x string) bool { return x == "local" }) &&
			keep("opt", func(x string) bool {
				key, value, hasValue := strings.Cut(x, "=")
				got, ok := v.Options[key]
				return ok && (!hasValue || got == value)
			}) &&
			f.matchLabels(v.Labels) && f.matchUntil(v.Created) {
			list = append(list, v)
		}
	}
	return list, nil
}

// VolumeInspect returns one volume by name or unique prefix of its name.
func (e *Engine) VolumeInspect(_ context.Context, name string) (*Volume, error) {
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	rows, err := db.Volumes()
	if err != nil {
		return nil, err
	}
	var found []*state.Volume
	for _, r := range rows {
		if r.Name == name {
			found = []*state.Volume{r}
			break
		}
		if name != "" && strings.HasPrefix(r.Name, name) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return nil, errs.New(errs.NotFound, "get %s: no such volume", name)
	case 1:
		v := e.volume(found[0])
		return &v, nil
	}
	return nil, errs.New(errs.Invalid, "more than one volume begins with %q", name)
}

// VolumeRemove deletes a volume with its content. One that a container uses is
// refused; force makes a missing volume no error.
func (e *Engine) VolumeRemove(ctx context.Context, name string, force bool) error {
	v, err := e.VolumeInspect(ctx, name)
	if errs.Is(err, errs.NotFound) && force {
		return nil
	}
	if err != nil {
		return err
	}
	if len(v.Containers) > 0 {
		return volumeInUse(v.Name, v.Containers[0])
	}
	// The record last: while it stands, what is left can be found.
	if err := e.removeTree(ctx, filepath.Dir(v.Mountpoint)); err != nil {
		return err
	}
	db, err := e.db()
	if err != nil {
		return err
	}
	user, _, err := db.DeleteVolume(v.Name)
	if err == nil && user != "" {
		// A container took it up meanwhile: it shall have a directory.
		if err := e.makeVolumeDir(v.Name); err != nil {
			return err
		}
		return volumeInUse(v.Name, user)
	}
	return err
}

func volumeInUse(name, id string) error {
	return errs.WithHint(errs.New(errs.InUse, "remove %s: volume is in use - [%s]", name, id), "proa rm %s", id[:12])
}
