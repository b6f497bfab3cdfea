// SPDX-License-Identifier: Apache-2.0

// Package rootless knows what this host lets an unprivileged user do. The
// mechanisms themselves are rootless/userns and rootless/cgroup.
package rootless

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/dirs"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/rootless/cgroup"
	"github.com/proa-containers/proa/rootless/userns"
)

// Facts answer what `info` and the preflight ask. Each is looked at when it is
// first asked for, and once; a Facts may be used by several goroutines.
type Facts struct {
	dirs dirs.Dirs

	subordinate func() (userns.Subordinate, error)
	mapping     func() mappingFact
	overlay     func() error
	place       func() cgroup.Place
	programs    map[string]func() Program
}

type mappingFact struct {
	m       userns.Mapping
	warning string
	err     error
}

// Program is an optional helper on this host.
type Program struct {
	Name    string
	Path    string // "" where it is not installed
	Version string // as it tells itself, without its name
}

// Filesystem is where a directory lies.
type Filesystem struct {
	Type    string // ext4, xfs, nfs, ...; the magic number in hex where it has no name here
	Network bool   // locks and SQLite's shared memory are not to be trusted there
}

// NewFacts looks at nothing yet.
func NewFacts(d dirs.Dirs) *Facts {
	f := &Facts{dirs: d, programs: map[string]func() Program{}}
	f.subordinate = sync.OnceValues(func() (userns.Subordinate, error) { return userns.LookupSubordinate(os.Getuid()) })
	f.mapping = sync.OnceValue(func() mappingFact {
		m, warning, err := userns.LookupMapping()
		return mappingFact{m, warning, err}
	})
	f.overlay = sync.OnceValue(f.probeOverlay)
	f.place = sync.OnceValue(cgroup.Find)
	for _, name := range []string{"fuse-overlayfs", "slirp4netns", "pasta"} {
		f.programs[name] = sync.OnceValue(func() Program { return findProgram(name) })
	}
	return f
}

// UID is the user's id on the host, also inside the user's namespace.
func (f *Facts) UID() int {
	if uid, err := strconv.Atoi(os.Getenv("_CONTAINERS_ROOTLESS_UID")); err == nil && userns.Inside() {
		return uid
	}
	return os.Getuid()
}

// Rootless: containers run in a user namespace.
func (f *Facts) Rootless() bool { return f.UID() != 0 }

// Subordinate is what /etc/subuid and /etc/subgid grant the user.
func (f *Facts) Subordinate() (userns.Subordinate, error) { return f.subordinate() }

// Mapping is how a new namespace of the user would be mapped, with the warning
// where that is the single-id map.
func (f *Facts) Mapping() (m userns.Mapping, warning string, err error) {
	r := f.mapping()
	return r.m, r.warning, r.err
}

// Kernel is the running kernel's release, and its first two numbers.
func (f *Facts) Kernel() (release string, major, minor int) {
	var uts unix.Utsname
	if unix.Uname(&uts) != nil {
		return "", 0, 0
	}
	release = unix.ByteSliceToString(uts.Release[:])
	major, minor = parseRelease(release)
	return release, major, minor
}

func parseRelease(release string) (major, minor int) {
	first, rest, _ := strings.Cut(release, ".")
	major, _ = strconv.Atoi(first)
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		rest = rest[:end]
	}
	minor, _ = strconv.Atoi(rest)
	return major, minor
}

// NativeOverlay is nil where the kernel mounts overlays in the user's
// namespace with the data directory below, else the reason with a hint. It is
// tried once per boot and directory; the answer lies in the run directory.
func (f *Facts) NativeOverlay() error { return f.overlay() }

func (f *Facts) probeOverlay() error {
	release, major, minor := f.Kernel()
	if f.Rootless() && (major < 5 || major == 5 && minor < 11) {
		return errs.WithHint(errs.New(errs.Unsupported, "kernel %s is older than 5.11, the first with overlays in user namespaces", release),
			"install fuse-overlayfs: sudo apt-get install fuse-overlayfs")
	}
	var st unix.Stat_t
	if err := unix.Stat(f.dirs.Data, &st); err != nil {
		return errs.Wrap(err, "look at", f.dirs.Data)
	}
	key := fmt.Sprintf("%s %d %s", release, st.Dev, f.dirs.Data)
	cache := filepath.Join(f.dirs.Run, "overlay-probe")
	if old, err := os.ReadFile(cache); err == nil && string(old) == key {
		return nil // only success is remembered: a failure may have been mended
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := userns.TryOverlay(ctx, f.dirs.Data); err != nil {
		return err
	}
	tmp := cache + "." + strconv.Itoa(os.Getpid())
	if os.WriteFile(tmp, []byte(key), 0o600) == nil {
		_ = os.Rename(tmp, cache) // without it the next command tries again
	}
	return nil
}

// FuseOverlayfs, Slirp4netns and Pasta are the optional helpers.
func (f *Facts) FuseOverlayfs() Program { return f.programs["fuse-overlayfs"]() }
func (f *Facts) Slirp4netns() Program   { return f.programs["slirp4netns"]() }
func (f *Facts) Pasta() Program         { return f.programs["pasta"]() }

// findProgram runs NAME --version, which takes a few ms.
func findProgram(name string) Program {
	p := Program{Name: name}
	path, err := exec.LookPath(name)
	if err != nil {
		return p
	}
	p.Path = path
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, "--version").Output()
	p.Version = parseVersion(name, string(out))
	return p
}

// parseVersion takes "slirp4netns version 1.2.0", "pasta 0.0~git..." or
// "fuse-overlayfs: version 1.10" apart; other lines are about libraries.
func parseVersion(name, out string) string {
	for line := range strings.Lines(out) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), name)
		if !ok {
			continue
		}
		rest = strings.TrimPrefix(strings.TrimLeft(rest, ": "), "version ")
		if rest = strings.TrimSpace(rest); rest != "" {
			return rest
		}
	}
	return ""
}

// Cgroup is where a container's cgroup can live.
func (f *Facts) Cgroup() cgroup.Place { return f.place() }

// AppArmor: the kernel enforces AppArmor profiles.
func (f *Facts) AppArmor() bool {
	b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(b), "Y")
}

// Seccomp: the kernel has seccomp filters.
func (f *Facts) Seccomp() bool {
	_, err := os.Stat("/proc/sys/kernel/seccomp/actions_avail")
	return err == nil
}

// Device says whether the user may open a device node for reading and writing:
// /dev/fuse for fuse-overlayfs, /dev/net/tun for slirp4netns and pasta.
func (f *Facts) Device(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return errs.Wrap(err, "open", path)
	}
	return unix.Close(fd)
}

// DataFilesystem is the file system of the data directory.
func (f *Facts) DataFilesystem() (Filesystem, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(f.dirs.Data, &st); err != nil {
		return Filesystem{}, errs.Wrap(err, "look at the file system of", f.dirs.Data)
	}
	return filesystem(uint64(st.Type) & 0xffffffff), nil
}

func filesystem(magic uint64) Filesystem {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return Filesystem{Type: "ext4"}
	case unix.XFS_SUPER_MAGIC:
		return Filesystem{Type: "xfs"}
	case unix.BTRFS_SUPER_MAGIC:
		return Filesystem{Type: "btrfs"}
	case 0x2fc12fc1:
		return Filesystem{Type: "zfs"}
	case unix.F2FS_SUPER_MAGIC:
		return Filesystem{Type: "f2fs"}
	case unix.TMPFS_MAGIC:
		return Filesystem{Type: "tmpfs"}
	case unix.OVERLAYFS_SUPER_MAGIC:
		return Filesystem{Type: "overlay"}
	case unix.FUSE_SUPER_MAGIC:
		// sshfs, glusterfs, s3fs and many more: not told apart here.
		return Filesystem{Type: "fuse", Network: true}
	}
	if name := networkFilesystem(magic); name != "" {
		return Filesystem{Type: name, Network: true}
	}
	return Filesystem{Type: fmt.Sprintf("%#x", magic)}
}

func networkFilesystem(magic uint64) string {
	switch magic {
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return "cifs"
	case unix.CEPH_SUPER_MAGIC:
		return "ceph"
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return "afs"
	case unix.V9FS_MAGIC:
		return "9p"
	case 0x0bd00bd0:
		return "lustre"
	case 0x47504653:
		return "gpfs"
	case 0x19830326:
		return "beegfs"
	}
	return ""
}
