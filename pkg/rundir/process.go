// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
)

// Process names one process for as long as the machine is up: the kernel gives a
// pid to another process later, but not with the same start time.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// Alive reports that the process is there, a zombie included.
func (p Process) Alive() bool {
	start, err := StartTime(p.PID)
	return err == nil && start == p.Start
}

// StartTime is field 22 of /proc/PID/stat, in clock ticks since boot.
func StartTime(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	return ParseStart(data)
}

// ParseStart finds the start time in the content of a stat file.
func ParseStart(stat []byte) (uint64, error) {
	f := StatFields(stat)
	if len(f) < 20 {
		return 0, errors.New("unexpected format of /proc/PID/stat")
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// StatFields are the fields of a stat file from the third on. The second is the
// command in parentheses, and may hold anything.
func StatFields(stat []byte) []string {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return nil
	}
	return strings.Fields(string(stat[i+1:]))
}
