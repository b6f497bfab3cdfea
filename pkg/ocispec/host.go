// SPDX-License-Identifier: Apache-2.0

package ocispec

import (
	"debug/elf"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/pkg/subid"
)

// Host is what Build must know of the machine and of the user. ProbeHost fills
// all but the fields in the first group, which other packages know.
type Host struct {
	// Rootless: the container runs in the user's user namespace, whose maps
	// are UIDs and GIDs. Without, the caller is root and the maps are empty.
	Rootless   bool
	UIDs, GIDs []spec.IDMap
	// UID and GID are the user's own on the host.
	UID, GID uint32
	// Cgroup is the cgroup, relative to the mount point, below which the user
	// may make cgroups ("" where there is none); with CgroupSystemd the slice
	// in which systemd makes the scope. Controllers are those delegated.
	Cgroup        string
	CgroupSystemd bool
	Controllers   []string
	// CgroupReason says why there is no cgroup, or not every controller, and
	// CgroupFix what would change it; both may be empty.
	CgroupReason, CgroupFix string

	Arch         string // GOARCH
	Kernel       [2]int // 6, 1
	LastCap      int
	LostCaps     []string // of real root: what its bounding set lacks
	CPUs         int
	Hostname     string
	Seccomp      bool
	AppArmor     bool
	CgroupV2     bool
	Mqueue       bool // /dev/mqueue is mounted on the host
	OOMScoreAdj  int
	HardLimits   map[string]uint64 // by ulimit name
	ThermalPaths []string          // thermal_throttle directories to mask
	Devices      []HostDevice      // those asked for
	MoreIDs      func() string     `json:"-"` // says how the user gets subordinate ids; asked for in a refusal only
	InitPath     string            // of a small init program; "": none found
}

// HostDevice is a device node of the host.
type HostDevice struct {
	Path         string
	Type         rune // b or c
	Major, Minor int64
	Mode         os.FileMode
	UID, GID     uint32
	Usable       bool // the user may open it for reading
}

// Probe says which of the slower questions are of interest.
type Probe struct {
	Devices    []string // paths of --device: nodes or directories
	AllDevices bool     // --privileged
	Init       bool
}

func (h *Host) moreIDs() string {
	if h.MoreIDs == nil {
		return ""
	}
	return h.MoreIDs()
}

func (h *Host) kernelAtLeast(major, minor int) bool {
	return h.Kernel[0] > major || h.Kernel[0] == major && h.Kernel[1] >= minor
}

// ProbeHost asks the machine. What cannot be found out stays at a value that
// makes Build refuse rather than fail later.
func ProbeHost(p Probe) Host {
	h := Host{Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), LastCap: 36,
		MoreIDs: subid.Hint}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		h.Kernel = kernelVersion(unix.ByteSliceToString(uts.Release[:]))
		h.Hostname = unix.ByteSliceToString(uts.Nodename[:])
	}
	if n, ok := readInt("/proc/sys/kernel/cap_last_cap"); ok {
		h.LastCap = n
	}
	if h.UID == 0 {
		h.LostCaps = lostCaps(h.LastCap)
	}
	h.OOMScoreAdj, _ = readInt("/proc/self/oom_score_adj")
	_, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	h.Seccomp = err == nil
	if b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err == nil {
		h.AppArmor = strings.HasPrefix(string(b), "Y")
	}
	h.CgroupV2 = fsType("/sys/fs/cgroup") == unix.CGROUP2_SUPER_MAGIC
	h.Mqueue = fsType("/dev/mqueue") == 0x19800202
	h.HardLimits = hardLimits()
	// One file per CPU, or on most machines that are virtual none at all.
	if _, err := os.Lstat("/sys/devices/system/cpu/cpu0/thermal_throttle"); err == nil {
		h.ThermalPaths, _ = filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")
	}
	if p.Init {
		h.InitPath = findInit()
	}
	if p.AllDevices {
		h.addDevices("/dev")
	} else {
		for _, d := range p.Devices {
			h.addDevices(d)
		}
	}
	return h
}

func kernelVersion(release string) (v [2]int) {
	for i, f := range strings.SplitN(release, ".", 3) {
		if i > 1 {
			break
		}
		end := strings.IndexFunc(f, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(f)
		}
		v[i], _ = strconv.Atoi(f[:end])
	}
	return v
}

func readInt(name string) (int, bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil
}

func fsType(name string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(name, &st) != nil {
		return 0
	}
	return int64(st.Type)
}

func hardLimits() map[string]uint64 {
	m := make(map[string]uint64, len(rlimitNumbers))
	for name, n := range rlimitNumbers {
		var r unix.Rlimit
		if unix.Getrlimit(n, &r) == nil {
			m[name] = r.Max
		}
	}
	return m
}

// findInit looks where the distributions put a one-child init.
func findInit() string {
	for _, dir := range []string{"/usr/libexec/proa", "/usr/libexec/podman", "/usr/bin", "/usr/local/bin", "/usr/libexec/docker", "/usr/sbin"} {
		for _, name := range []string{"catatonit", "tini-static", "tini", "docker-init"} {
			p := filepath.Join(dir, name)
			if unix.Access(p, unix.X_OK) == nil && isStatic(p) {
				return p
			}
		}
	}
	return ""
}

// isStatic reports whether the program runs in any container: one that names
// an interpreter needs the host's C library.
func isStatic(name string) bool {
	f, err := elf.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}

// addDevices adds the node root, or all nodes below it.
func (h *Host) addDevices(root string) {
	_ = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if e.IsDir() {
			if p == "/dev/pts" || p == "/dev/shm" || p == "/dev/mqueue" || p == "/dev/hugepages" || p == "/dev/.lxc" {
				return fs.SkipDir
			}
			return nil
		}
		var st unix.Stat_t
		if unix.Stat(p, &st) != nil || p != root && e.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		d := HostDevice{Path: p, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
			Mode: os.FileMode(st.Mode & 0o777), UID: st.Uid, GID: st.Gid}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFCHR:
			d.Type = 'c'
		case unix.S_IFBLK:
			d.Type = 'b'
		default:
			return nil
		}
		d.Usable = unix.Access(p, unix.R_OK) == nil
		h.Devices = append(h.Devices, d)
		return nil
	})
}

// lostCaps are the capabilities that this process cannot hand on. An
// unprivileged user's namespace has all of them again, for itself.
func lostCaps(last int) (lost []string) {
	for n, name := range allCaps {
		if n > last {
			break
		}
		if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0); err == nil && has == 0 {
			lost = append(lost, name)
		}
	}
	return lost
}
