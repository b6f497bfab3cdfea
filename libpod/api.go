// SPDX-License-Identifier: Apache-2.0

// Package libpod is the engine: the only place that orders mechanisms (state,
// storage, monitor, network). Every front door calls it and nothing below it.
package libpod

import (
	"io"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/spec"
)

// Streams are a client's ends of a container's standard streams. A nil stream
// is not attached.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// TTY is the client's terminal where the container has one: put into raw
	// mode, its size followed.
	TTY        bool
	DetachKeys string // as term.ParseKeys takes them; empty: none
	// OnDetach, if not nil, is called after the user detached with the keys, when the
	// terminal is restored.
	OnDetach func()
	// SigProxy forwards the client's signals to the process. With the third
	// SIGINT or SIGTERM the client leaves, see ErrInsisted.
	SigProxy bool
	// NoStdin keeps the client's input to itself.
	NoStdin bool
}

// Details is everything known about one container, reconciled with what is
// really there: the record as stored, the monitor's status while it lives, the
// exit file afterwards.
type Details struct {
	ID           string
	Name         string
	Created      time.Time
	State        lifecycle.State
	Spec         spec.Container
	Image        spec.ImageConfig
	ImageName    string   // as the user wrote it, or the id once the name is gone
	Command      []string // path and arguments of the process
	RestartCount int
	Status       *monitor.Status // nil: no live monitor
	Exit         *monitor.Exit   // nil: never ended
	LogPath      string
	Rootfs       spec.Rootfs
	Mounts       []MountPoint
	Masked       []string // paths that are empty inside
	Readonly     []string // paths that cannot be changed inside
}

// MountPoint is one mount of a container as inspect shows it.
type MountPoint struct {
	Type        spec.MountType
	Name        string // of the volume
	Source      string // on the host
	Destination string
	Driver      string
	Mode        string
	RW          bool
	Propagation string
}
