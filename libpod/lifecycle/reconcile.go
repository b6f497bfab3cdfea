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
	// Elsewhere: the record's place is another host. What cannot be seen from
	// here proves nothing then; only an exit file, which all hosts share, does.
	Elsewhere bool
	// Rebooted: the record's place is an earlier boot of this host.
	Rebooted bool
	// Place is where the live monitor is found to be; empty: as the record says.
	Place  string
	RunDir bool    // the runtime directory exists
	Status *Status // RunDir/status.json
	Exit   *Exit   // DataDir/exit.json
}

// Status is the part of a monitor's status that matters here.
type Status struct {
	State        State // Creating, Running, Paused, Restarting or Exited
	StartedAt    time.Time
	RestartCount int
	Run          int
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
	Run           int
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
	if o.Elsewhere && (r.State.UnderWay() || autoRemove) {
		return elsewhere(r, o)
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
		next.RestartCount, next.Run = o.Status.RestartCount, max(r.Run, o.Status.Run)
		if o.Place != "" {
			next.Place = o.Place
		}
	default:
		// Setting up, or about to end: its exit file speaks next.
		return r, 0
	}
	if next != r {
		return next, Save
	}
	return r, 0
}

// elsewhere: another host's container. That it has ended is told by its exit
// file; its directories are that host's to clear away.
func elsewhere(r Record, o Observed) (Record, Action) {
	if !r.State.Live() || !Fresh(r, o.Exit) {
		return r, 0
	}
	return ended(r, o.Exit), died(o.Exit) | Save
}

// Fresh reports that an exit file is of the run that the record speaks of, or
// of a later one that it does not know yet.
func Fresh(r Record, e *Exit) bool {
	switch {
	case e == nil:
		return false
	case e.Run == 0: // written by a proa that did not count
		return e.FinishedAt.After(r.FinishedAt)
	case r.State.UnderWay():
		return e.Run >= r.Run
	}
	return e.Run > r.Run
}

// newer reports the same of a monitor's status, for a record that says that
// nothing runs.
func newer(r Record, s *Status) bool {
	if s.Run == 0 {
		return s.StartedAt.After(r.FinishedAt)
	}
	return s.Run > r.Run && !s.StartedAt.IsZero()
}

// unlocked: nobody is at work; the files left behind decide.
func unlocked(r Record, o Observed) (Record, Action) {
	fresh := Fresh(r, o.Exit)
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
		case o.Exit == nil && o.Status != nil && newer(r, o.Status):
			return killed(r, o), Died | Notify
		}
		return r, 0
	case Running, Paused, Restarting:
		switch {
		case fresh:
			return ended(r, o.Exit), died(o.Exit)
		case r.Starting() && (o.Status == nil || o.Status.StartedAt.IsZero()):
			return neverStarted(r), 0
		case !o.Rebooted && (o.RunDir || r.Place != ""):
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
		r.ExitCode, r.Error, r.Run = e.Code, e.Error, max(r.Run, e.Run)
		return r
	}
	return Record{State: Exited, ExitCode: e.Code, Error: e.Error, OOMKilled: e.OOMKilled, StartedAt: e.StartedAt,
		FinishedAt: e.FinishedAt, RestartCount: e.RestartCount, StoppedByUser: e.StoppedByUser,
		Run: max(r.Run, e.Run), Place: r.Place}
}

// neverStarted undoes an intended start.
func neverStarted(r Record) Record {
	r.State = Exited
	if r.FinishedAt.IsZero() {
		r.State = Created
	}
	return r
}

// killed: its monitor is gone, in this boot, and left no word. Nobody knows when
// it happened.
func killed(r Record, o Observed) Record {
	r.State, r.ExitCode, r.Error, r.FinishedAt = Exited, codeKilled, MonitorKilled, o.Now
	if o.Status != nil {
		r.RestartCount, r.Run = o.Status.RestartCount, max(r.Run, o.Status.Run)
		if !o.Status.StartedAt.IsZero() {
			r.StartedAt = o.Status.StartedAt
		}
	}
	return r
}

// lost: the host was restarted; of a record without a place, at least its
// runtime directory is gone.
func lost(r Record, o Observed) Record {
	r.State, r.ExitCode, r.Error, r.FinishedAt = Exited, codeRestart, HostRestarted, o.Now
	return r
}
