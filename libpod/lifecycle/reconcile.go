// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "time"

// Observed is what is really there. The zero value of a pointer means that the
// file does not exist or says nothing.
type Observed struct {
	Now time.Time
	// Locked: somebody holds the runtime directory's lock: a monitor, or a
	// front end on its way to one (then Status is nil).
	Locked bool
	RunDir bool    // the runtime directory exists
	Data   bool    // the data directory exists
	Status *Status // RunDir/status.json
	Exit   *Exit   // DataDir/exit.json
}

// Status is the part of a monitor's status that matters here.
type Status struct {
	State        State // Creating, Running, Paused, Restarting or Exited
	StartedAt    time.Time
	RestartCount int
}

// Exit is the part of an exit file that matters here.
type Exit struct {
	Code          int
	OOMKilled     bool
	StartedAt     time.Time // zero: it could not be started
	FinishedAt    time.Time
	Error         string
	RestartCount  int
	StoppedByUser bool
}

// Action is a bit set of what Reconcile asks for beside storing the record.
type Action uint8

const (
	Save    Action = 1 << iota // the record differs from what is stored
	Clear                      // remove the runtime directory of a monitor that died
	Discard                    // finish or begin the removal: nothing of it may stay
	Notify                     // tell the user, once, that the monitor was killed
	Died                       // the record went from a live state to exited: a "die" event
)

// Texts of Record.Error, also shown by inspect.
const (
	MonitorKilled = "the monitor was killed, and the container with it"
	HostRestarted = "the host was restarted, or its runtime directory removed, while the container was running"
)

// Exit codes for ends that nobody saw.
const (
	codeKilled  = 137 // 128 + SIGKILL: what the kernel sent when the monitor died
	codeRestart = 255 // as Docker's daemon says after a crash of the host
)

// Reconcile compares a container's record with what is there and returns what
// the record should say and what is to be done. autoRemove is the container's
// --rm. It is idempotent: with the actions done and the record saved, a second
// call asks for nothing.
func Reconcile(r Record, autoRemove bool, o Observed) (Record, Action) {
	if o.Locked {
		return locked(r, o)
	}
	next, act := unlocked(r, o)
	if o.RunDir {
		act |= Clear
	}
	failed := next.State == Created && r.State != Created && next.Error != ""
	if autoRemove && (next.State == Exited || failed) || next.State == Removing {
		act |= Discard
	}
	if next != r {
		act |= Save
	}
	return next, act
}

// locked: somebody is at work. Only the monitor's own word counts.
func locked(r Record, o Observed) (Record, Action) {
	if o.Status == nil || r.State == Removing || r.State == Dead {
		return r, 0
	}
	next := r
	switch o.Status.State {
	case Running, Paused, Restarting:
		next.State = o.Status.State
		next.Error, next.OOMKilled, next.StoppedByUser = "", false, false
		if !o.Status.StartedAt.IsZero() {
			next.StartedAt = o.Status.StartedAt
		}
		next.RestartCount = o.Status.RestartCount
	default:
		// Setting up, or about to end: its exit file speaks next.
		return r, 0
	}
	if next != r {
		return next, Save
	}
	return r, 0
}

// unlocked: nobody is at work; the files left behind decide.
func unlocked(r Record, o Observed) (Record, Action) {
	fresh := o.Exit != nil && o.Exit.FinishedAt.After(r.FinishedAt)
	switch r.State {
	case Creating:
		switch {
		case fresh:
			// Its creator died after the launch. One that could not be started
			// is created all the same, as Docker leaves it.
			return ended(r, o.Exit), died(o.Exit)
		case o.Status != nil && !o.Status.StartedAt.IsZero():
			return killed(r, o), Died | Notify
		}
		r.State = Removing // its creator died
		return r, 0
	case Created, Exited:
		// The front end died between the start and its record.
		switch {
		case fresh:
			return ended(r, o.Exit), died(o.Exit)
		case o.Exit == nil && o.Status != nil && o.Status.StartedAt.After(r.FinishedAt):
			return killed(r, o), Died | Notify
		}
		return r, 0
	case Running, Paused, Restarting:
		switch {
		case fresh:
			return ended(r, o.Exit), died(o.Exit)
		case r.Starting() && (o.Status == nil || o.Status.StartedAt.IsZero()):
			return neverStarted(r), 0
		case o.RunDir:
			return killed(r, o), Died | Notify
		}
		return lost(r, o), Died
	}
	return r, 0
}

func died(e *Exit) Action {
	if e.StartedAt.IsZero() {
		return 0
	}
	return Died
}

// ended takes over what the exit file says.
func ended(r Record, e *Exit) Record {
	if e.StartedAt.IsZero() {
		// It could not be started: Docker leaves it created, or exited as
		// before, with the code and the reason.
		r = neverStarted(r)
		r.ExitCode, r.Error = e.Code, e.Error
		return r
	}
	return Record{State: Exited, ExitCode: e.Code, Error: e.Error, OOMKilled: e.OOMKilled, StartedAt: e.StartedAt,
		FinishedAt: e.FinishedAt, RestartCount: e.RestartCount, StoppedByUser: e.StoppedByUser}
}

// neverStarted undoes an intended start.
func neverStarted(r Record) Record {
	r.State = Exited
	if r.FinishedAt.IsZero() {
		r.State = Created
	}
	return r
}

// killed: the runtime directory is there and its monitor is not. Nobody knows
// when it happened.
func killed(r Record, o Observed) Record {
	r.State, r.ExitCode, r.Error, r.FinishedAt = Exited, codeKilled, MonitorKilled, o.Now
	if o.Status != nil {
		r.RestartCount = o.Status.RestartCount
		if !o.Status.StartedAt.IsZero() {
			r.StartedAt = o.Status.StartedAt
		}
	}
	return r
}

// lost: not even the runtime directory is left, as after a restart of the host.
func lost(r Record, o Observed) Record {
	r.State, r.ExitCode, r.Error, r.FinishedAt = Exited, codeRestart, HostRestarted, o.Now
	return r
}
