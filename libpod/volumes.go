// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"time"
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

// VolumeCreate makes a volume; an empty name makes an anonymous one. An
// existing volume of that name is returned as it is.
func (e *Engine) VolumeCreate(ctx context.Context, v Volume) (*Volume, error) { return nil, todo() }

// Volumes lists the volumes by name. Filters: name, label, driver, dangling.
func (e *Engine) Volumes(ctx context.Context, filters map[string][]string) ([]Volume, error) {
	return nil, todo()
}

// VolumeInspect returns one volume by name or unique prefix of its name.
func (e *Engine) VolumeInspect(ctx context.Context, name string) (*Volume, error) {
	return nil, todo()
}

// VolumeRemove deletes a volume with its content. One that a container uses is
// refused; force makes a missing volume no error.
func (e *Engine) VolumeRemove(ctx context.Context, name string, force bool) error { return todo() }
