// SPDX-License-Identifier: Apache-2.0

package libpod

import "context"

// Info is what `info` shows about this host and this store.
type Info struct {
	Version           string
	Containers        int
	Running           int
	Paused            int
	Stopped           int
	Images            int
	StorageDriver     string
	StorageRoot       string
	RunRoot           string
	DatabasePath      string
	DatabaseJournal   string // wal or delete
	OS                string // PRETTY_NAME
	Kernel            string
	Arch              string
	CPUs              int
	Memory            uint64 // bytes
	Hostname          string
	Rootless          bool
	SubordinateIDs    bool // /etc/subuid and newuidmap are usable
	CgroupVersion     int
	CgroupControllers []string // that limits can use here
	CgroupDriver      string
	Uplink            string // slirp4netns, pasta, netstack
	Networks          []string
	LogDriver         string
	LogDrivers        []string
	Warnings          []string
}

// Info collects facts; it never fails because one of them is unknown.
func (e *Engine) Info(ctx context.Context) (*Info, error) { return nil, todo() }

// Version is what `version` shows.
type Version struct {
	Version   string
	GoVersion string
	Commit    string
	Built     string
	OS        string
	Arch      string
}

// Version never touches the disk.
func (e *Engine) Version() Version { return Version{} }

// Unshare runs a program inside the user's namespace with the caller's streams
// and returns its status as *errs.ExitError. Empty argv: $SHELL.
func (e *Engine) Unshare(ctx context.Context, argv []string) error { return todo() }

// Settle finishes the record of a container whose monitor has ended: the
// hidden command `__settle ID`, which a detached monitor of a container with
// AutoRemove starts. It waits for the monitor to be gone.
func (e *Engine) Settle(ctx context.Context, id string) error { return todo() }

// Internal runs a hidden command ("__rm PATH...", "__pull ...", "__settle ID")
// that Proa starts of itself, some of them inside the user's namespace.
// handled is false where args name none; the front end then goes on as usual.
// main calls it before it parses anything else.
func Internal(ctx context.Context, args []string) (handled bool, err error) { return false, nil }

// Leaks lists what should not be there while no command is at work: runtime
// directories without a live monitor, container directories without a record,
// and the like, one sentence each.
func (e *Engine) Leaks(ctx context.Context) ([]string, error) { return nil, todo() }
