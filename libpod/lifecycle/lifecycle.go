// SPDX-License-Identifier: Apache-2.0

// Package lifecycle is the life of a container as a pure state machine: which
// event is allowed in which state, and what a record becomes when it is
// compared with what is really there. It does no I/O.
package lifecycle

import "time"

// State is a container's state, in Docker's words.
type State string

const (
	Creating   State = "creating" // reserved: the front end is still making it
	Created    State = "created"
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting" // waiting for its restart policy's next try
	Removing   State = "removing"
	Exited     State = "exited"
	Dead       State = "dead" // its removal failed half-way
)

// States lists every state.
func States() []State {
	return []State{Creating, Created, Running, Paused, Restarting, Removing, Exited, Dead}
}

// Live reports whether a monitor is expected to be there.
func (s State) Live() bool { return s == Running || s == Paused || s == Restarting }

// Record is what the database says about a container's life.
type Record struct {
	State         State
	ExitCode      int
	Error         string // why it could not be started, or how it ended oddly
	OOMKilled     bool
	StartedAt     time.Time
	FinishedAt    time.Time
	RestartCount  int
	StoppedByUser bool
}
