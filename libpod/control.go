// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"io"
	"time"

	"github.com/proa-containers/proa/pkg/spec"
)

// StopOptions override what the container says about its end.
type StopOptions struct {
	Signal  string // empty: the container's stop signal
	Timeout *int   // seconds before SIGKILL; nil: the container's own; negative: wait for ever
}

// Stop ends a container's process. A container that is not running is no error.
func (e *Engine) Stop(ctx context.Context, ref string, o StopOptions) error { return todo() }

// Kill sends a signal ("" is SIGKILL; names with or without SIG, or numbers)
// to a running container's main process.
func (e *Engine) Kill(ctx context.Context, ref, signal string) error { return todo() }

// Restart stops the container where it runs, and starts it.
func (e *Engine) Restart(ctx context.Context, ref string, o StopOptions) error { return todo() }

// Pause freezes every process of a running container.
func (e *Engine) Pause(ctx context.Context, ref string) error { return todo() }

// Unpause undoes Pause.
func (e *Engine) Unpause(ctx context.Context, ref string) error { return todo() }

// Wait blocks until the container is in the state that condition names:
// "" or "not-running", "next-exit", "removed" (also podman's "exited",
// "stopped", "running"), and returns its exit code.
func (e *Engine) Wait(ctx context.Context, ref, condition string) (code int, err error) {
	return 0, todo()
}

// RemoveOptions say what may be destroyed with a container.
type RemoveOptions struct {
	Force   bool // kill it where it runs
	Volumes bool // remove its anonymous volumes too
	Timeout *int // with Force: seconds between the stop signal and SIGKILL; nil: 0
	// Ignore makes a container that does not exist no error.
	Ignore bool
}

// Remove deletes a container. After an error the container is still listed
// and Remove may be called again.
func (e *Engine) Remove(ctx context.Context, ref string, o RemoveOptions) error { return todo() }

// Rename gives a container another name.
func (e *Engine) Rename(ctx context.Context, ref, name string) error { return todo() }

// Attach connects the client's streams to a running container until its end,
// whose status comes back as in Run.
func (e *Engine) Attach(ctx context.Context, ref string, s Streams) error { return todo() }

// ExecOptions describe one more process in a running container.
type ExecOptions struct {
	Args       []string
	Env        []string // KEY=VALUE, after the container's own
	Dir        string   // empty: the container's
	User       string   // empty: the container's
	TTY        bool
	Privileged bool
	Detach     bool
	Streams    Streams // ignored with Detach
}

// Exec runs a process in a running container and waits for it without Detach;
// its status other than 0 comes back as *errs.ExitError.
func (e *Engine) Exec(ctx context.Context, ref string, o ExecOptions) error { return todo() }

// LogOptions select lines of a container's log.
type LogOptions struct {
	Follow     bool
	Tail       int // last lines; negative: all
	Since      time.Time
	Until      time.Time
	Timestamps bool
	Details    bool
}

// Logs copies a container's log. With Follow it returns when the container has
// ended or ctx is done.
func (e *Engine) Logs(ctx context.Context, ref string, o LogOptions, stdout, stderr io.Writer) error {
	return todo()
}

// Ports are the published ports of a container, with the host ports in use;
// empty where it does not run.
func (e *Engine) Ports(ctx context.Context, ref string) ([]spec.Port, error) { return nil, todo() }

// Top lists the processes of a running container as ps(1) prints them; args
// are ps options, empty: "-ef".
func (e *Engine) Top(ctx context.Context, ref string, args []string) (titles []string, rows [][]string, err error) {
	return nil, nil, todo()
}

// Stats is one sample of what a running container uses.
type Stats struct {
	ID, Name         string
	Time             time.Time
	CPU              time.Duration // consumed since the start
	Memory           uint64        // bytes, without reclaimable page cache
	MemoryLimit      uint64        // bytes; the host's memory without a limit
	NetRx, NetTx     uint64        // bytes
	BlockRead, Write uint64        // bytes
	Pids             uint64
	PidsLimit        uint64 // 0: none
}

// Stats takes one sample of a running container.
func (e *Engine) Stats(ctx context.Context, ref string) (*Stats, error) { return nil, todo() }
