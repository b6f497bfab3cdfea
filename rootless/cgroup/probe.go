// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/rootless/userns"
)

// Mount is where systemd and everybody after it mount the hierarchy.
const Mount = "/sys/fs/cgroup"

// Probe looks at the host. It reads half a dozen files; only a process in a
// unit of the user manager costs a question to that manager. Whether it can
// make scopes shows when Prepare asks it to.
func Probe() Facts {
	f := Facts{Root: os.Geteuid() == 0 && hasSysAdmin() && initialUserns(), V2: unified()}
	if !f.V2 {
		if f.Root {
			f.V1Controllers = v1Controllers()
		}
		return f
	}
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return f
	}
	f.Own = ownPath(data)
	dir := filepath.Join(Mount, delegated(f.Own))
	f.OwnControllers = words(filepath.Join(dir, "cgroup.controllers"))
	f.OwnWritable = writable(dir)
	f.OwnDelegated = xattrSet(dir, "user.delegate") || xattrSet(dir, "trusted.delegate")
	if f.Root {
		f.OwnControllers = words(filepath.Join(Mount, "cgroup.controllers"))
		return f
	}
	uid := userns.UserID()
	f.UserBus = busSocket(uid) != ""
	f.ManagerControllers = managerControllers(Mount, uid)
	if f.OwnWritable && !f.OwnDelegated && f.UserBus {
		// Every unit of a user manager is writable, and older managers (252)
		// do not mark those with Delegate=yes: ask.
		f.OwnDelegated = askDelegate(path.Base(delegated(f.Own)))
	}
	return f
}

// Find is Decide on what Probe sees.
func Find() Place { return Decide(Probe()) }

func unified() bool {
	var st unix.Statfs_t
	return unix.Statfs(Mount, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// ownPath finds the line of the v2 hierarchy, "0::/path".
func ownPath(data []byte) string {
	for line := range bytes.Lines(data) {
		if p, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("0::")); ok && len(p) > 0 && p[0] == '/' {
			return path.Clean(string(p))
		}
	}
	return ""
}

func words(file string) []string {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(data))
}

// writable reports whether dir was handed to us: the directory itself and the
// two files that cgroups(7) names for a delegation.
func writable(dir string) bool {
	for _, p := range []string{dir, filepath.Join(dir, "cgroup.procs"), filepath.Join(dir, "cgroup.subtree_control")} {
		if unix.Faccessat(unix.AT_FDCWD, p, unix.W_OK, unix.AT_EACCESS) != nil {
			return false
		}
	}
	return true
}

func xattrSet(dir, name string) bool {
	buf := make([]byte, 8)
	n, err := unix.Getxattr(dir, name, buf)
	return err == nil && n >= 1 && buf[0] == '1'
}

// managerControllers are those of user@UID.service, from which every scope of
// the user's manager hangs.
func managerControllers(mount string, uid int) []string {
	u := strconv.Itoa(uid)
	return words(filepath.Join(mount, "user.slice", "user-"+u+".slice", "user@"+u+".service", "cgroup.controllers"))
}

func v1Controllers() []string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return parseV1(string(data))
}

// parseV1 finds the controllers of writable cgroup v1 mounts.
func parseV1(mountinfo string) []string {
	known := map[string]bool{"cpu": true, "cpuacct": true, "cpuset": true, "memory": true, "pids": true, "blkio": true, "devices": true, "freezer": true}
	var out []string
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, b := strings.Fields(after), strings.Fields(before)
		if !ok || len(f) < 3 || f[0] != "cgroup" || len(b) < 6 || !strings.HasPrefix(b[5], "rw") {
			continue
		}
		for option := range strings.SplitSeq(f[2], ",") {
			if known[option] {
				known[option] = false
				out = append(out, option)
			}
		}
	}
	return out
}

func hasSysAdmin() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&hdr, &data[0]) != nil || data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// busSocket is the socket of the bus of user uid, or "". Inside the user's
// namespace its owner is 0, as we are. Other uids' buses (su
// without a login) would refuse us, so a foreign socket does not count.
func busSocket(uid int) string {
	candidates := []string{}
	if a, ok := strings.CutPrefix(os.Getenv("DBUS_SESSION_BUS_ADDRESS"), "unix:path="); ok {
		p, _, _ := strings.Cut(a, ",")
		candidates = append(candidates, p)
	}
	if x := os.Getenv("XDG_RUNTIME_DIR"); x != "" {
		candidates = append(candidates, filepath.Join(x, "bus"))
	}
	candidates = append(candidates, filepath.Join("/run/user", strconv.Itoa(uid), "bus"))
	for _, p := range candidates {
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && int(st.Uid) == os.Getuid() && st.Mode&unix.S_IFMT == unix.S_IFSOCK && managerRuns(p) {
			return p
		}
	}
	return ""
}

// managerRuns: a session bus without a systemd manager (dbus-launch, a desktop
// without systemd) cannot make scopes. The manager keeps a directory of its
// own beside the bus.
func managerRuns(bus string) bool {
	var st unix.Stat_t
	return unix.Stat(filepath.Join(filepath.Dir(bus), "systemd"), &st) == nil
}

// initialUserns reports whether this process is in the machine's own user
// namespace: root of another one owns no cgroup.
func initialUserns() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err != nil || strings.Join(strings.Fields(string(text)), " ") == "0 0 4294967295"
}
