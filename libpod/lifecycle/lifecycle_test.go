// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"strings"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
)

// allEvents lists every event, in the order of the picture.
func allEvents() []Event {
	return []Event{EvCreated, EvStart, EvNoStart, EvPause, EvUnpause, EvBackoff, EvExit, EvRemove, EvStuck, EvGone, EvAbandon, EvReturned}
}

// matrix is the state machine once more, as a picture: rows are states, columns
// are allEvents() in order; "-" is refused.
const matrix = `
            created  start    no-start  pause   unpause  backoff     exit    remove    stuck  gone  abandon   respawned
creating    created  running  created   -       -        -           exited  removing  -      -     removing  -
created     -        running  created   -       -        -           -       removing  -      -     -         -
running     -        -        created   paused  -        restarting  exited  -         -      -     -         -
paused      -        -        -         -       running  restarting  exited  -         -      -     -         -
restarting  -        -        -         -       -        restarting  exited  -         -      -     -         running
removing    -        -        -         -       -        -           -       removing  dead   GONE  -         -
exited      -        running  exited    -       -        -           -       removing  -      -     -         -
dead        -        -        -         -       -        -           -       removing  -      -     -         -
`

func TestTransitions(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(matrix), "\n")
	columns := strings.Fields(lines[0])
	if len(columns) != len(allEvents()) || len(lines)-1 != len(States()) {
		t.Fatal("the picture does not show every state and event")
	}
	for i, s := range States() {
		cells := strings.Fields(lines[i+1])
		if cells[0] != string(s) {
			t.Fatalf("row %d is %s, want %s", i, cells[0], s)
		}
		for j, ev := range allEvents() {
			if columns[j] != string(ev) {
				t.Fatalf("column %d is %s, want %s", j, columns[j], ev)
			}
			got, err := Next(s, ev)
			switch want := cells[j+1]; {
			case want == "-":
				if !errs.Is(err, errs.State) || got != s {
					t.Errorf("%s + %s = %q, %v; want a refusal", s, ev, got, err)
				}
			case want == "GONE":
				if err != nil || got != Gone {
					t.Errorf("%s + %s = %q, %v", s, ev, got, err)
				}
			default:
				if err != nil || string(got) != want {
					t.Errorf("%s + %s = %q, %v; want %s", s, ev, got, err, want)
				}
			}
		}
	}
}

var (
	t0  = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	t1  = t0.Add(time.Hour)
	t2  = t1.Add(time.Hour)
	now = t2.Add(time.Hour)
)

func TestReconcile(t *testing.T) {
	running := Record{State: Running, StartedAt: t1}
	again := Record{State: Exited, ExitCode: 3, StartedAt: t0, FinishedAt: t1}
	exit := &Exit{Code: 7, StartedAt: t1, FinishedAt: t2}
	placed := Record{State: Running, StartedAt: t1, Run: 2, Place: "n1"}
	for _, tt := range []struct {
		name string
		r    Record
		rm   bool
		o    Observed
		want Record
		act  Action
	}{
		{"running and alive", running, false, Observed{Locked: true, RunDir: true, Status: &Status{State: Running, StartedAt: t1}}, running, 0},
		{"paused behind our back", running, false, Observed{Locked: true, RunDir: true, Status: &Status{State: Paused, StartedAt: t1}},
			Record{State: Paused, StartedAt: t1}, Save},
		{"restarted by its policy", running, false, Observed{Locked: true, RunDir: true, Status: &Status{State: Running, StartedAt: t2, RestartCount: 2}},
			Record{State: Running, StartedAt: t2, RestartCount: 2}, Save},
		{"waiting for its next try", running, false, Observed{Locked: true, RunDir: true, Status: &Status{State: Restarting, StartedAt: t1, RestartCount: 1}},
			Record{State: Restarting, StartedAt: t1, RestartCount: 1}, Save},
		{"about to end", running, false, Observed{Locked: true, RunDir: true, Exit: exit, Status: &Status{State: Exited, StartedAt: t1}}, running, 0},
		{"ended, exit file there", running, false, Observed{Exit: exit},
			Record{State: Exited, ExitCode: 7, StartedAt: t1, FinishedAt: t2}, Save | Died},
		{"ended, --rm", running, true, Observed{Exit: exit},
			Record{State: Exited, ExitCode: 7, StartedAt: t1, FinishedAt: t2}, Save | Died | Discard},
		{"ended, runtime directory still there", running, false, Observed{RunDir: true, Exit: exit, Status: &Status{State: Exited, StartedAt: t1}},
			Record{State: Exited, ExitCode: 7, StartedAt: t1, FinishedAt: t2}, Save | Died | Clear},
		{"monitor killed", running, false, Observed{RunDir: true, Status: &Status{State: Running, StartedAt: t1}},
			Record{State: Exited, ExitCode: 137, Error: MonitorKilled, StartedAt: t1, FinishedAt: now}, Save | Died | Notify | Clear},
		{"monitor killed, --rm", running, true, Observed{RunDir: true, Status: &Status{State: Running, StartedAt: t1}},
			Record{State: Exited, ExitCode: 137, Error: MonitorKilled, StartedAt: t1, FinishedAt: now}, Save | Died | Notify | Clear | Discard},
		{"monitor killed while paused", Record{State: Paused, StartedAt: t1}, false, Observed{RunDir: true},
			Record{State: Exited, ExitCode: 137, Error: MonitorKilled, StartedAt: t1, FinishedAt: now}, Save | Died | Notify | Clear},
		{"monitor killed, an older run's exit file", Record{State: Running, StartedAt: t2, FinishedAt: t1}, false,
			Observed{RunDir: true, Exit: &Exit{Code: 3, StartedAt: t0, FinishedAt: t1}},
			Record{State: Exited, ExitCode: 137, Error: MonitorKilled, StartedAt: t2, FinishedAt: now}, Save | Died | Notify | Clear},
		{"reboot", running, false, Observed{},
			Record{State: Exited, ExitCode: 255, Error: HostRestarted, StartedAt: t1, FinishedAt: now}, Save | Died},
		{"reboot, --rm", running, true, Observed{},
			Record{State: Exited, ExitCode: 255, Error: HostRestarted, StartedAt: t1, FinishedAt: now}, Save | Died | Discard},
		{"being created", Record{State: Creating}, false, Observed{Locked: true, RunDir: true}, Record{State: Creating}, 0},
		{"being created, monitor at work", Record{State: Creating}, false, Observed{Locked: true, RunDir: true, Status: &Status{State: Creating}}, Record{State: Creating}, 0},
		{"creator died at once", Record{State: Creating}, false, Observed{}, Record{State: Removing}, Save | Discard},
		{"creator died later", Record{State: Creating}, false, Observed{RunDir: true}, Record{State: Removing}, Save | Discard | Clear},
		{"creator died, the start failed", Record{State: Creating}, false, Observed{Exit: &Exit{Code: 127, FinishedAt: t2, Error: "no"}},
			Record{State: Created, ExitCode: 127, Error: "no"}, Save},
		{"creator died, the start failed, --rm", Record{State: Creating}, true, Observed{Exit: &Exit{Code: 127, FinishedAt: t2, Error: "no"}},
			Record{State: Created, ExitCode: 127, Error: "no"}, Save | Discard},
		{"created with --rm", Record{State: Created}, true, Observed{}, Record{State: Created}, 0},
		{"creator died after the launch", Record{State: Creating}, false, Observed{Locked: true, RunDir: true, Status: &Status{State: Running, StartedAt: t1}},
			Record{State: Running, StartedAt: t1}, Save},
		{"creator died, container ended", Record{State: Creating}, false, Observed{Exit: exit},
			Record{State: Exited, ExitCode: 7, StartedAt: t1, FinishedAt: t2}, Save | Died},
		{"creator and monitor died", Record{State: Creating}, false, Observed{RunDir: true, Status: &Status{State: Running, StartedAt: t1}},
			Record{State: Exited, ExitCode: 137, Error: MonitorKilled, StartedAt: t1, FinishedAt: now}, Save | Died | Notify | Clear},
		{"created", Record{State: Created}, false, Observed{}, Record{State: Created}, 0},
		{"created, start under way", Record{State: Running}, false, Observed{Locked: true, RunDir: true}, Record{State: Running}, 0},
		{"created, start interrupted", Record{State: Running}, false, Observed{}, Record{State: Created}, Save},
		{"created, start interrupted in the monitor", Record{State: Running}, false, Observed{RunDir: true, Status: &Status{State: Creating}},
			Record{State: Created}, Save | Clear},
		{"created, command not found", Record{State: Running}, false, Observed{Exit: &Exit{Code: 127, FinishedAt: t2, Error: "no"}},
			Record{State: Created, ExitCode: 127, Error: "no"}, Save},
		{"exited, start interrupted", Record{State: Running, ExitCode: 3, FinishedAt: t1}, false, Observed{},
			Record{State: Exited, ExitCode: 3, FinishedAt: t1}, Save},
		{"exited", again, false, Observed{Exit: &Exit{Code: 3, StartedAt: t0, FinishedAt: t1}}, again, 0},
		{"exited, --rm, nobody removed it", again, true, Observed{}, again, Discard},
		{"exited, left-over runtime directory", again, false, Observed{RunDir: true}, again, Clear},
		{"exited, running all the same", again, false, Observed{Locked: true, RunDir: true, Status: &Status{State: Running, StartedAt: t2}},
			Record{State: Running, ExitCode: 3, StartedAt: t2, FinishedAt: t1}, Save},
		{"removal under way", Record{State: Removing}, false, Observed{Locked: true, RunDir: true}, Record{State: Removing}, 0},
		{"removal interrupted", Record{State: Removing}, false, Observed{}, Record{State: Removing}, Discard},
		{"dead", Record{State: Dead}, false, Observed{}, Record{State: Dead}, 0},
		{"data directory lost", again, false, Observed{}, again, 0},
		{"running elsewhere", placed, false, Observed{Elsewhere: true}, placed, 0},
		{"running elsewhere, --rm", placed, true, Observed{Elsewhere: true}, placed, 0},
		{"ended elsewhere", placed, false, Observed{Elsewhere: true, Exit: &Exit{Code: 7, StartedAt: t1, FinishedAt: t2, Run: 2}},
			Record{State: Exited, ExitCode: 7, StartedAt: t1, FinishedAt: t2, Run: 2, Place: "n1"}, Save | Died},
		{"ended elsewhere, --rm", placed, true, Observed{Elsewhere: true, Exit: &Exit{Code: 7, StartedAt: t1, FinishedAt: t2, Run: 2}},
			Record{State: Exited, ExitCode: 7, StartedAt: t1, FinishedAt: t2, Run: 2, Place: "n1"}, Save | Died},
		{"being created elsewhere", Record{State: Creating, Place: "n1"}, false, Observed{Elsewhere: true}, Record{State: Creating, Place: "n1"}, 0},
		{"being removed elsewhere", Record{State: Removing, Place: "n1"}, false, Observed{Elsewhere: true}, Record{State: Removing, Place: "n1"}, 0},
		{"ended elsewhere and waiting for its removal", Record{State: Exited, Place: "n1"}, true, Observed{Elsewhere: true},
			Record{State: Exited, Place: "n1"}, 0},
		{"runtime directory gone, monitor dead", placed, false, Observed{},
			Record{State: Exited, ExitCode: 137, Error: MonitorKilled, StartedAt: t1, FinishedAt: now, Run: 2, Place: "n1"}, Save | Died | Notify},
		{"reboot of a known place", placed, false, Observed{Rebooted: true},
			Record{State: Exited, ExitCode: 255, Error: HostRestarted, StartedAt: t1, FinishedAt: now, Run: 2, Place: "n1"}, Save | Died},
		{"reboot where the runtime directory is no tmpfs", placed, false, Observed{RunDir: true, Rebooted: true},
			Record{State: Exited, ExitCode: 255, Error: HostRestarted, StartedAt: t1, FinishedAt: now, Run: 2, Place: "n1"}, Save | Died | Clear},
		// The clock went back a day between two runs: only the number counts.
		{"ended before the last end", Record{State: Running, StartedAt: t0, FinishedAt: now, Run: 2}, false,
			Observed{Exit: &Exit{Code: 7, StartedAt: t0, FinishedAt: t1, Run: 2}},
			Record{State: Exited, ExitCode: 7, StartedAt: t0, FinishedAt: t1, Run: 2}, Save | Died},
		{"the last run's exit file from the future", Record{State: Running, StartedAt: t1, FinishedAt: t0, Run: 2, Place: "n1"}, false,
			Observed{RunDir: true, Exit: &Exit{Code: 3, StartedAt: t0, FinishedAt: now, Run: 1}},
			Record{State: Exited, ExitCode: 137, Error: MonitorKilled, StartedAt: t1, FinishedAt: now, Run: 2, Place: "n1"}, Save | Died | Notify | Clear},
		{"a run that the record does not know", Record{State: Exited, StartedAt: t1, FinishedAt: now, Run: 1}, false,
			Observed{Exit: &Exit{Code: 7, StartedAt: t0, FinishedAt: t1, Run: 2}},
			Record{State: Exited, ExitCode: 7, StartedAt: t0, FinishedAt: t1, Run: 2}, Save | Died},
		{"its monitor is found", Record{State: Running, StartedAt: t1, Run: 2, Place: "n1"}, false,
			Observed{Locked: true, RunDir: true, Place: "n1 with pid", Status: &Status{State: Running, StartedAt: t1, Run: 2}},
			Record{State: Running, StartedAt: t1, Run: 2, Place: "n1 with pid"}, Save},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Now = now
			got, act := Reconcile(tt.r, tt.rm, tt.o)
			if got != tt.want || act != tt.act {
				t.Errorf("got  %+v %b\nwant %+v %b", got, act, tt.want, tt.act)
			}
			// Once more, with what was asked for done: nothing is left to do.
			if act&Clear != 0 {
				tt.o.RunDir, tt.o.Status = false, nil
			}
			if act&Discard != 0 {
				return
			}
			if second, act := Reconcile(got, tt.rm, tt.o); second != got || act != 0 {
				t.Errorf("not idempotent: %+v %b", second, act)
			}
		})
	}
}

// TestReconcileFollowsTheTable: whatever is observed, the record moves along
// an edge of the state machine (or two, where nobody saw the first).
func TestReconcileFollowsTheTable(t *testing.T) {
	reach := func(from, to State) bool {
		if from == to {
			return true
		}
		for _, mid := range table[from] {
			if mid == to {
				return true
			}
			for _, end := range table[mid] {
				if end == to {
					return true
				}
			}
		}
		return false
	}
	statuses := []*Status{nil, {State: Creating}, {State: Running, StartedAt: t1}, {State: Paused, StartedAt: t1},
		{State: Restarting, StartedAt: t1}, {State: Exited, StartedAt: t1}}
	exits := []*Exit{nil, {Code: 127, FinishedAt: t2, Error: "x"}, {Code: 1, StartedAt: t1, FinishedAt: t2}}
	for _, s := range States() {
		for i := range 1 << 3 {
			for _, st := range statuses {
				for _, ex := range exits {
					r := Record{State: s}
					if s.Live() && i&4 != 0 {
						r.StartedAt = t1
					}
					o := Observed{Now: now, Locked: i&1 != 0, RunDir: i&2 != 0, Status: st, Exit: ex}
					next, act := Reconcile(r, false, o)
					if !reach(s, next.State) {
						t.Errorf("%s -> %s is no way of the table (%+v)", s, next.State, o)
					}
					if o.Locked && act&^Save != 0 {
						t.Errorf("%s: %b asked for while somebody is at work", s, act)
					}
				}
			}
		}
	}
}
