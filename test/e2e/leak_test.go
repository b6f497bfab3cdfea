// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// traces is how a script's leftovers are recognised: everything it does uses
// directories of its own.
type traces struct {
	Data, Run string
	SkipPID   int // the test process itself
}

// find lists processes, mounts and files that are left. Processes get a moment
// to end: a monitor answers the last command before it is gone itself.
func (t traces) find() []string {
	var left []string
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left = left[:0]
		for _, p := range t.processes() {
			left = append(left, "process "+describe(p))
		}
		left = append(left, t.mounts()...)
		left = append(left, t.files()...)
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

func (t traces) kill() {
	for range 3 {
		for _, p := range t.processes() {
			syscall.Kill(p, syscall.SIGKILL)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// processes finds what belongs to the script: by the environment it was
// started with, by its arguments, by a mount that it sees, by an open file.
func (t traces) processes() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || pid == t.SkipPID {
			continue
		}
		if t.marks(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (t traces) marks(pid int) bool {
	dir := fmt.Sprintf("/proc/%d/", pid)
	for _, f := range []string{"environ", "cmdline", "mountinfo"} {
		if f == "mountinfo" && seesOurMounts(pid) {
			continue // a mount that is left here is everybody's: find tells it, and kill must not end the machine
		}
		data, err := os.ReadFile(dir + f)
		if err == nil && (bytes.Contains(data, []byte(t.Run+"/")) || bytes.Contains(data, []byte(t.Data+"/")) ||
			bytes.Contains(data, []byte("PROA_RUN_DIR="+t.Run+"\x00"))) {
			return true
		}
	}
	fds, _ := os.ReadDir(dir + "fd")
	for _, fd := range fds {
		to, err := os.Readlink(dir + "fd/" + fd.Name())
		if err == nil && (strings.HasPrefix(to, t.Run+"/") || strings.HasPrefix(to, t.Data+"/")) {
			return true
		}
	}
	return false
}

// seesOurMounts says whether a process is in the mount namespace of this one.
func seesOurMounts(pid int) bool {
	ours, err := os.Readlink("/proc/self/ns/mnt")
	its, ierr := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	return err == nil && ierr == nil && ours == its
}

func (t traces) mounts() []string {
	var left []string
	data, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, t.Run+"/") || strings.Contains(line, t.Data+"/") {
			left = append(left, "mount "+strings.TrimSpace(line))
		}
	}
	return left
}

// kept are the files that may stay when no container exists: locks that are
// reused, the store's own bookkeeping, and what an image pull leaves on purpose.
var kept = regexp.MustCompile(`(^|/)(lock|userns\.json|net/uplink\.(fifo|log|json)|[^/]*\.lock|storage(/.*)?)$`)

// files lists what is left of containers below the two directories.
func (t traces) files() []string {
	var left []string
	for _, root := range []string{filepath.Join(t.Data, "containers"), t.Run} {
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && len(filepath.Base(path)) != 64 {
				return nil
			}
			rel, _ := filepath.Rel(root, path)
			if !kept.MatchString(rel) {
				left = append(left, "file "+path)
			}
			return nil
		})
	}
	sort.Strings(left)
	return left
}

func describe(pid int) string {
	cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return fmt.Sprintf("%d (%s)", pid, strings.TrimSpace(string(bytes.ReplaceAll(cmd, []byte{0}, []byte(" ")))))
}

// shot is what a user has on the machine: processes, and control groups with a
// container's id in their name.
type shot map[string]bool

var containerCgroup = regexp.MustCompile(`[0-9a-f]{64}`)

func snapshot(a account) shot {
	s := shot{}
	if a.uid != 0 { // root's processes are the whole machine's
		for pid, uid := range processOwners() {
			if !alive(pid) { // a zombie: its parent has yet to look
				continue
			}
			if uid == a.uid || a.subID != 0 && uid >= a.subID && uid < a.subID+a.subIDCount {
				s["process "+describe(pid)] = true
			}
		}
	}
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && containerCgroup.MatchString(d.Name()) && ownCgroup(a, path) {
			s["cgroup "+path] = true
		}
		return nil
	})
	return s
}

// ownCgroup tells the set's control groups from those of other programs that
// name theirs by a container's id.
func ownCgroup(a account, path string) bool {
	if a.uid == 0 {
		return strings.Contains(path, "/proa")
	}
	fi, err := os.Stat(path)
	return err == nil && fi.Sys().(*syscall.Stat_t).Uid == a.uid
}

// settled is since, after a moment for what is just ending.
func (s shot) settled(a account, before shot) []string {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left := s.since(before)
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		s = snapshot(a)
	}
}

func (s shot) since(before shot) []string {
	var left []string
	for x := range s {
		if !before[x] {
			left = append(left, x)
		}
	}
	sort.Strings(left)
	return left
}

func processOwners() map[int]uint32 {
	owners := map[int]uint32{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if fi, err := os.Stat("/proc/" + e.Name()); err == nil {
			owners[pid] = fi.Sys().(*syscall.Stat_t).Uid
		}
		// A process that changed its user is shown as root's in /proc; its
		// status tells the truth.
		if uid, ok := statusUID(pid); ok {
			owners[pid] = uid
		}
	}
	return owners
}

func statusUID(pid int) (uint32, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Uid:" {
			n, err := strconv.ParseUint(f[1], 10, 32)
			return uint32(n), err == nil
		}
	}
	return 0, false
}
