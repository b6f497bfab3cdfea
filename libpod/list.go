// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/spec"
)

// ListOptions select containers.
type ListOptions struct {
	All  bool // not only the running ones
	Last int  // the newest n in any state; 0: no limit
	Size bool // fill in SizeRw and SizeRoot: walks the writable layers
	// Filters are Docker's: id, name, label, status, ancestor, exited, volume,
	// network, publish, expose, before, since, health, is-task. Values of one
	// key are alternatives (label: all must hold), keys must all hold.
	Filters map[string][]string
}

// Summary is one container as `ps` shows it.
type Summary struct {
	ID         string
	Name       string
	Image      string // as the user wrote it
	ImageID    string
	Command    []string
	Created    time.Time
	State      lifecycle.State
	Health     string // starting, healthy, unhealthy; empty: no check
	StartedAt  time.Time
	FinishedAt time.Time
	ExitCode   int
	PID        int // in the host's pid namespace; 0: not running
	Ports      []spec.Port
	Exposed    []string // "80/tcp": exposed and not published
	Labels     map[string]string
	Mounts     []string // volume names and host paths
	Networks   []string
	AutoRemove bool
	SizeRw     int64 // bytes, with Size
	SizeRoot   int64 // bytes, with Size
}

// List returns containers, the newest first.
func (e *Engine) List(ctx context.Context, o ListOptions) ([]Summary, error) { return nil, todo() }

// Inspect returns everything known about one container.
func (e *Engine) Inspect(ctx context.Context, ref string) (*Details, error) { return nil, todo() }

// Exists reports whether ref names a container.
func (e *Engine) Exists(ctx context.Context, ref string) (bool, error) { return false, todo() }
