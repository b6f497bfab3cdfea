// SPDX-License-Identifier: Apache-2.0

// Package lifecycle is the life of a container as a pure state machine: which
// event is allowed in which state, and what a record becomes when it is
// compared with what is really there. It does no I/O.
package lifecycle

import (
	"time"

	"github.com/proa-containers/proa/pkg/errs"
)

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
	// Gone is the absence of a record: before Creating, after Removing.
	Gone State = ""
)

// States lists every state that a record can have.
func States() []State {
	return []State{Creating, Created, Running, Paused, Restarting, Removing, Exited, Dead}
}

// UnderWay reports that a process is expected to be at work on it: a monitor,
// or a command that creates or removes it.
func (s State) UnderWay() bool { return s.Live() || s == Creating || s == Removing }

// Live reports whether a monitor is expected to be there.
func (s State) Live() bool { return s == Running || s == Paused || s == Restarting }

// Valid reports whether s is a state that a record can have.
func (s State) Valid() bool {
	for _, t := range States() {
		if s == t {
			return true
		}
	}
	return false
}

// Event is what happens to a container.
type Event string

const (
	EvCreated  Event = "created"   // its directories are made
	EvStart    Event = "start"     // its process runs
	EvNoStart  Event = "no-start"  // its process could not be started
	EvPause    Event = "pause"     //
	EvUnpause  Event = "unpause"   //
	EvBackoff  Event = "backoff"   // it ended, and will be started again
	EvExit     Event = "exit"      // it ended for good
	EvRemove   Event = "remove"    // its removal begins
	EvStuck    Event = "stuck"     // its removal failed
	EvGone     Event = "gone"      // nothing of it is left
	EvAbandon  Event = "abandon"   // its creator died, or changed its mind
	EvReturned Event = "respawned" // the restart policy started it again
)

// table is the whole state machine. What is not in it is refused.
var table = map[State]map[Event]State{
	Creating: {
		EvCreated: Created,
		EvStart:   Running, // run commits creation and start at once
		EvNoStart: Created,
		EvExit:    Exited, // its front end died after the launch
		EvAbandon: Removing,
		EvRemove:  Removing,
	},
	Created: {
		EvStart:   Running,
		EvNoStart: Created,
		EvRemove:  Removing,
	},
	Running: {
		EvPause:   Paused,
		EvBackoff: Restarting,
		EvExit:    Exited,
		EvNoStart: Created, // the start was only intended: see Record.Starting
	},
	Paused: {
		EvUnpause: Running,
		EvBackoff: Restarting,
		EvExit:    Exited,
	},
	Restarting: {
		EvReturned: Running,
		EvBackoff:  Restarting,
		EvExit:     Exited,
	},
	Exited: {
		EvStart:   Running,
		EvNoStart: Exited,
		EvRemove:  Removing,
	},
	Removing: {
		EvGone:   Gone,
		EvStuck:  Dead,
		EvRemove: Removing, // whoever began it died: anybody may go on
	},
	Dead: {
		EvRemove: Removing,
	},
}

// Next is the state after ev. An event that the state does not allow is an
// error of kind errs.State; the state stays.
func Next(s State, ev Event) (State, error) {
	if to, ok := table[s][ev]; ok {
		return to, nil
	}
	return s, errs.New(errs.State, "a container that is %s does not allow %q", s, ev)
}

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
	// Run counts the starts of the container. What a monitor leaves says of
	// which one it is: a clock may step back between two of them.
	Run int
	// Place says where the last start, or the removal, takes place: host, runtime
	// directory and monitor, in the words of package libpod.
	Place string
}

// Starting reports that a start was intended, and that its outcome has not
// been recorded: the state is Running and the time of the start unknown.
func (r Record) Starting() bool { return r.State == Running && r.StartedAt.IsZero() }
