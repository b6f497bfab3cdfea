// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/spec"
)

// maxMountData is what mount(2) takes: one page, with its terminating zero.
const maxMountData = 4095

// rootfs is a container's mounted root. It lives in the monitor's own mount
// namespace: the kernel unmounts it when the monitor dies, however it dies.
type rootfs struct {
	path string
	fuse *exec.Cmd // the fuse-overlayfs that serves it
}

// mountPoint is where every monitor mounts its container's root: one directory
// for all, since each sees only its own mount there. A directory per container
// could not be removed without unmounting first, and unmounting waits some
// milliseconds for the other processors (RCU); this way the kernel does it
// after the monitor's end, when nobody waits any more. It lies in the data
// directory: who removes a mount point takes the mount away in every namespace,
// and the runtime directory may be removed under a live container.
func mountPoint(cfg *monitor.Config) string {
	return filepath.Join(filepath.Dir(filepath.Dir(cfg.DataDir)), "rootfs")
}

// nestedPlaces are directories that every host has and everybody may enter.
var nestedPlaces = []string{"/mnt", "/media", "/srv", "/opt", "/home"}

// nestedMountPoint is where the root of a container with a user namespace of
// its own goes. Its root is nobody to the runtime directory, which is closed to
// others; in our own mount namespace any directory will do whose content this
// container does not need.
func nestedMountPoint(cfg *monitor.Config) (string, error) {
	needed := []string{cfg.DataDir, cfg.RunDir, cfg.Rootfs.Home, cfg.Rootfs.Upper, cfg.Rootfs.Dir}
	for _, m := range cfg.Container.Mounts {
		needed = append(needed, m.Source)
	}
	for _, dir := range nestedPlaces {
		st, err := os.Lstat(dir)
		if err != nil || !st.IsDir() || st.Mode().Perm()&0o005 != 0o005 {
			continue
		}
		if !slices.ContainsFunc(needed, func(p string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }) {
			return dir, nil
		}
	}
	return "", errs.New(errs.Unsupported, "no place to mount the root of a container with its own user namespace: everything below %s is in use by it", strings.Join(nestedPlaces, ", "))
}

// mountRootfs puts r together at target (a directory that it creates) or, for
// a ready directory, where it is. volatile leaves out syncing the upper layer,
// for a container that is removed at its end anyway.
func mountRootfs(r spec.Rootfs, target string, volatile bool) (*rootfs, error) {
	switch r.Driver {
	case "dir", "vfs":
		p, err := filepath.EvalSymlinks(r.Dir)
		if err != nil {
			return nil, errs.Wrap(err, "find root directory", r.Dir)
		}
		return &rootfs{path: p}, nil
	case "overlay", "fuse-overlayfs":
	default:
		return nil, errs.New(errs.Invalid, "root file system driver %q is not known", r.Driver)
	}
	if err := os.MkdirAll(target, 0o700); err != nil {
		return nil, errs.Wrap(err, "create directory", target)
	}
	for _, p := range []string{r.Upper, r.Work} {
		if p == "" {
			continue
		}
		if err := os.MkdirAll(p, 0o755); err != nil {
			return nil, errs.Wrap(err, "create directory", p)
		}
	}
	fs := &rootfs{path: target}
	var err error
	if r.Driver == "overlay" {
		err = mountOverlay(r, target, volatile)
	} else {
		fs.fuse, err = mountFuse(r, target)
	}
	if err != nil {
		return nil, errs.Wrap(err, "mount the root file system at", target)
	}
	return fs, nil
}

// mountOverlay uses mount(2), which is one call; the new mount interface takes
// over where the layers do not fit into its page. Relative lower directories
// start at r.Home.
func mountOverlay(r spec.Rootfs, target string, volatile bool) error {
	if len(r.Lowers) == 0 {
		return errs.New(errs.Corrupt, "the image has no layers")
	}
	if r.Upper == "" && len(r.Lowers) == 1 {
		// An overlay wants two directories.
		low := r.Lowers[0]
		if !filepath.IsAbs(low) {
			low = filepath.Join(r.Home, low)
		}
		return bindReadOnly(low, target)
	}
	// This kernel interface knows no directory to start from but ours.
	if r.Home != "" {
		if err := os.Chdir(r.Home); err != nil {
			return err
		}
		defer func() { _ = os.Chdir("/") }()
	}
	data := overlayData(r, volatile)
	if len(data) > maxMountData {
		return newOverlay(r, target, volatile)
	}
	var flags uintptr
	if r.Upper == "" {
		flags = unix.MS_RDONLY
	}
	return os.NewSyscallError("mount overlay", unix.Mount("overlay", target, "overlay", flags, data))
}

func bindReadOnly(src, target string) error {
	if err := unix.Mount(src, target, "", unix.MS_BIND, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	return os.NewSyscallError("mount", unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
}

// overlayData is the option string for mount(2).
func overlayData(r spec.Rootfs, volatile bool) string {
	lowers := make([]string, len(r.Lowers))
	for i, l := range r.Lowers {
		lowers[i] = escapeOverlay(l)
	}
	opts := []string{"lowerdir=" + strings.Join(lowers, ":")}
	if r.Upper != "" {
		opts = append(opts, "upperdir="+escapeOverlay(r.Upper), "workdir="+escapeOverlay(r.Work))
		if volatile {
			opts = append(opts, "volatile")
		}
	}
	return strings.Join(append(opts, "userxattr"), ",")
}

var overlayEscapes = strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`)

func escapeOverlay(p string) string { return overlayEscapes.Replace(p) }

// newOverlay mounts with one call per layer: hundreds of layers fit.
func newOverlay(r spec.Rootfs, target string, volatile bool) error {
	ctx, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(ctx)
	type option struct{ key, value string }
	var opts []option
	for _, l := range r.Lowers {
		opts = append(opts, option{"lowerdir+", l})
	}
	if r.Upper != "" {
		opts = append(opts, option{"upperdir", r.Upper}, option{"workdir", r.Work})
	}
	for _, o := range opts {
		if err := unix.FsconfigSetString(ctx, o.key, o.value); err != nil {
			return fmt.Errorf("%d layers are too many for this kernel: fsconfig %s: %w", len(r.Lowers), o.key, err)
		}
	}
	flags := []string{"userxattr"}
	if volatile && r.Upper != "" {
		flags = append(flags, "volatile")
	}
	for _, f := range flags {
		if err := unix.FsconfigSetFlag(ctx, f); err != nil {
			return os.NewSyscallError("fsconfig "+f, err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return os.NewSyscallError("fsconfig create", err)
	}
	attr := 0
	if r.Upper == "" {
		attr = unix.MOUNT_ATTR_RDONLY
	}
	m, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(m)
	return os.NewSyscallError("move_mount", unix.MoveMount(m, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// mountFuse starts fuse-overlayfs and waits until its file system is there.
func mountFuse(r spec.Rootfs, target string) (*exec.Cmd, error) {
	program := r.Program
	if program == "" {
		program = "fuse-overlayfs"
	}
	cmd := exec.Command(program, "-f", "-o", fuseOptions(r), target)
	cmd.Dir = r.Home
	var said tail
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		var st unix.Statfs_t
		if err := unix.Statfs(target, &st); err == nil && st.Type == unix.FUSE_SUPER_MAGIC {
			return cmd, nil
		}
		select {
		case <-gone:
			return nil, fmt.Errorf("%s ended: %s", program, said.String())
		case <-time.After(wait):
		}
	}
}

func fuseOptions(r spec.Rootfs) string {
	lowers := make([]string, len(r.Lowers))
	for i, l := range r.Lowers {
		lowers[i] = escapeOverlay(l)
	}
	opts := []string{"lowerdir=" + strings.Join(lowers, ":")}
	if r.Upper != "" {
		opts = append(opts, "upperdir="+escapeOverlay(r.Upper), "workdir="+escapeOverlay(r.Work))
	}
	if m := fuseMap(r.UIDMap); m != "" {
		opts = append(opts, "uidmapping="+m)
	}
	if m := fuseMap(r.GIDMap); m != "" {
		opts = append(opts, "gidmapping="+m)
	}
	return strings.Join(opts, ",")
}

func fuseMap(m []spec.IDMap) string {
	parts := make([]string, 0, 3*len(m))
	for _, l := range m {
		parts = append(parts, fmt.Sprint(l.Inside), fmt.Sprint(l.Outside), fmt.Sprint(l.Count))
	}
	return strings.Join(parts, ":")
}

// release ends the helper that serves the root. The mount itself goes with the
// monitor.
func (fs *rootfs) release() {
	if fs != nil && fs.fuse != nil {
		_ = fs.fuse.Process.Signal(unix.SIGTERM)
	}
}

// tail keeps the last bytes that a helper program said.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 1024 {
		t.b = t.b[len(t.b)-1024:]
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.b)) }
