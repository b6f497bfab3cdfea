// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"io"

	"github.com/proa-containers/proa/pkg/spec"
)

// RunOptions say how `run` connects to the container that it starts.
type RunOptions struct {
	Detach bool
	// Streams are the client's ends; ignored with Detach. A nil stream is not
	// attached.
	Streams Streams
	// Progress takes what is printed while a missing image is pulled (standard
	// error, usually); nil: nothing is printed.
	Progress io.Writer
	// OnCreated, where not nil, is called with the id before the start: for
	// Detach's output nothing else is needed, Run returns the id as well.
	OnCreated func(id string)
}

// Run creates and starts a container and, without Detach, stays attached until
// its end. It returns the id as soon as there is one, even with an error. In
// the foreground a status other than 0 comes back as *errs.ExitError; a client
// that detached with its keys gets nil. A command that cannot be run has the
// kind CannotInvoke or CommandMissing; the container is then left in the state
// created, or removed with AutoRemove. When ctx ends before the start nothing
// is left.
func (e *Engine) Run(ctx context.Context, c *spec.Container, o RunOptions) (id string, err error) {
	return "", todo()
}

// CreateOptions say how a missing image is reported.
type CreateOptions struct {
	Progress io.Writer // as in RunOptions
}

// Create makes a container in the state created, pulling its image where
// c.Pull says so. An interrupted Create leaves nothing behind.
func (e *Engine) Create(ctx context.Context, c *spec.Container, o CreateOptions) (id string, err error) {
	return "", todo()
}

// StartOptions say whether `start` stays with the container.
type StartOptions struct {
	Attach  bool
	Streams Streams // with Attach
}

// Start starts a created or exited container; a running one is left alone.
// With Attach it behaves as Run does in the foreground.
func (e *Engine) Start(ctx context.Context, ref string, o StartOptions) error { return todo() }
