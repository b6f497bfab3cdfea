// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// State is what a live monitor is doing.
type State string

const (
	StateCreating   State = "creating" // setting up; the process has not started
	StateRunning    State = "running"
	StatePaused     State = "paused"
	StateRestarting State = "restarting" // waiting to start the process again
	StateExited     State = "exited"     // the process is gone, the monitor about to be
)

// Protocol numbers what monitor and front end say to each other: the socket's
// requests and the meaning of the files. A container keeps the monitor that it was
// started with, so after an update a front end meets monitors of an older program.
// Raise it with a change that the other side would misunderstand, and
// OldestProtocol when this program no longer understands the older ones. Fields that
// the other side may ignore need no new number.
const (
	Protocol       = 1
	OldestProtocol = 0 // monitors from before the number: they speak as 1 does
)

// Head is the part of StatusFile that other mechanisms read. The monitor embeds it
// in its whole status. Pids are those of the host's pid namespace.
type Head struct {
	Protocol     int    `json:"protocol,omitempty"`
	State        State  `json:"state"`
	MonitorPID   int    `json:"monitorPid"`
	MonitorStart uint64 `json:"monitorStart"`  // start time, field 22 of /proc/PID/stat
	PID          int    `json:"pid,omitempty"` // of the container's process
	PIDStart     uint64 `json:"pidStart,omitempty"`
	InnerPID     int    `json:"innerPid,omitempty"` // the same process as the monitor sees it
	NetnsFD      int    `json:"netnsFd,omitempty"`  // descriptor number in the monitor: /proc/MonitorPID/fd/N
}

// Monitor names the process that wrote the status.
func (h Head) Monitor() Process { return Process{h.MonitorPID, h.MonitorStart} }

// Understood reports that this program speaks the monitor's protocol.
func (h Head) Understood() bool { return OldestProtocol <= h.Protocol && h.Protocol <= Protocol }

// ReadHead reads the head of the status in a runtime directory.
func ReadHead(runDir string) (Head, error) {
	var h Head
	return h, ReadStatus(runDir, &h)
}

// ReadStatus reads the status in a runtime directory into v: a Head, or what embeds
// one. The monitor replaces the file whole, so a reader needs no lock.
func ReadStatus(runDir string, v any) error { return readJSON(runDir, StatusFile, v) }

// ReadExit reads the ExitFile in a data directory into v.
func ReadExit(dataDir string, v any) error { return readJSON(dataDir, ExitFile, v) }

func readJSON(dir, name string, v any) error {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
