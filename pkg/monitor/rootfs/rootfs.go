// SPDX-License-Identifier: Apache-2.0

// Package rootfs mounts a container's root file system, and makes the files that are
// mounted into it: hosts, resolv.conf, the host's name.
package rootfs

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
	"github.com/proa-containers/proa/pkg/overlay"
	"github.com/proa-containers/proa/pkg/spec"
)

// Rootfs is a container's mounted root. It lives in the monitor's own mount
// namespace: the kernel unmounts it when the monitor dies, however it dies.
type Rootfs struct {
	Path string
	Fuse *exec.Cmd // the fuse-overlayfs that serves it
}

// MountPoint is where every monitor mounts its container's root: one directory
// for all, since each sees only its own mount there. A directory per container
// could not be removed without unmounting first, and unmounting waits some
// milliseconds for the other processors (RCU); this way the kernel does it
// after the monitor's end, when nobody waits any more. It lies in the data
// directory: who removes a mount point takes the mount away in every namespace,
// and the runtime directory may be removed under a live container.
func MountPoint(cfg *monitor.Config) string {
	return filepath.Join(filepath.Dir(filepath.Dir(cfg.DataDir)), "rootfs")
}

// nestedPlaces are directories that every host has and everybody may enter.
var nestedPlaces = []string{"/mnt", "/media", "/srv", "/opt", "/home"}

// NestedMountPoint is where the root of a container with a user namespace of
// its own goes. Its root is nobody to the runtime directory, which is closed to
// others; in our own mount namespace any directory will do whose content this
// container does not need.
func NestedMountPoint(cfg *monitor.Config) (string, error) {
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

// MountRootfs puts r together at target (a directory that it creates) or, for
// a ready directory, where it is. volatile leaves out syncing the upper layer,
// for a container that is removed at its end anyway.
func MountRootfs(r spec.Rootfs, target string, volatile bool) (*Rootfs, error) {
	switch r.Driver {
	case "dir", "vfs":
		p, err := filepath.EvalSymlinks(r.Dir)
		if err != nil {
			return nil, errs.Wrap(err, "find root directory", r.Dir)
		}
		return &Rootfs{Path: p}, nil
	case "overlay", overlay.FuseDriver:
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
	if len(r.Lowers) == 0 { // of an image or a stage from scratch
		if err := mountNothing(target); err != nil {
			return nil, err
		}
		r.Lowers = []string{target}
	}
	fs := &Rootfs{Path: target}
	var err error
	if r.Driver == "overlay" {
		err = layersOf(r, volatile).Kernel(target)
	} else {
		fs.Fuse, err = mountFuse(r, target)
	}
	if err != nil {
		return nil, errs.Wrap(err, "mount the root file system at", target)
	}
	return fs, nil
}

// mountNothing mounts an empty directory at target, for images without layers: an overlay
// needs a lower directory.
func mountNothing(target string) error {
	err := unix.Mount("tmpfs", target, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "size=4k,mode=755")
	return errs.Wrap(err, "mount an empty directory at", target)
}

// layersOf is what the root file system is mounted of.
func layersOf(r spec.Rootfs, volatile bool) overlay.Mount {
	return overlay.Mount{Home: r.Home, Lowers: r.Lowers, Upper: r.Upper, Work: r.Work, Volatile: volatile}
}

// mountFuse starts fuse-overlayfs and waits until its file system is there.
func mountFuse(r spec.Rootfs, target string) (*exec.Cmd, error) {
	program := r.Program
	if program == "" {
		program = "fuse-overlayfs"
	}
	cmd, started, err := layersOf(r, false).Fuse(program, target, true, idMappings(r)...)
	if err != nil {
		return nil, err
	}
	var said tail
	cmd.Stdout, cmd.Stderr = &said, &said
	err = cmd.Start()
	started()
	if err != nil {
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

// idMappings are the options of fuse-overlayfs that shift ids.
func idMappings(r spec.Rootfs) (opts []string) {
	if m := fuseMap(r.UIDMap); m != "" {
		opts = append(opts, "uidmapping="+m)
	}
	if m := fuseMap(r.GIDMap); m != "" {
		opts = append(opts, "gidmapping="+m)
	}
	return opts
}

func fuseMap(m []spec.IDMap) string {
	parts := make([]string, 0, 3*len(m))
	for _, l := range m {
		parts = append(parts, fmt.Sprint(l.Inside), fmt.Sprint(l.Outside), fmt.Sprint(l.Count))
	}
	return strings.Join(parts, ":")
}

// Release ends the helper that serves the root. The mount itself goes with the
// monitor.
func (fs *Rootfs) Release() {
	if fs != nil && fs.Fuse != nil {
		_ = fs.Fuse.Process.Signal(unix.SIGTERM)
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
