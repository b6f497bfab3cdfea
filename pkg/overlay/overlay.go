// SPDX-License-Identifier: Apache-2.0

// Package overlay mounts the layers of a root file system upon one another, with
// the kernel's overlay or with fuse-overlayfs, and knows what these two write
// into the directories that they are given.
package overlay

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"
)

// FuseDriver is what spec.Rootfs calls fuse-overlayfs.
const FuseDriver = "fuse-overlayfs"

// Mount says what is mounted. Without Upper it is for reading only.
type Mount struct {
	Home     string   // where relative Lowers start
	Lowers   []string // topmost first
	Upper    string
	Work     string
	Volatile bool // leaves out syncing the upper layer
}

// UserXattrs says which marks the kernel's overlay reads and writes. In a user
// namespace these are user.overlay.*, since nobody there may set the others;
// for the host's root they are trusted.overlay.*, which no container without
// CAP_SYS_ADMIN can write. Layers are unpacked with the same ones.
func UserXattrs() bool { return userns.RunningInUserNS() }

// OpaqueXattr is the attribute that makes a directory hide what lower layers
// have in it, where its value is "y".
func OpaqueXattr() string {
	if UserXattrs() {
		return "user.overlay.opaque"
	}
	return "trusted.overlay.opaque"
}

// flags are the options without a value. The kernel's configuration may turn
// redirects, copies of metadata alone and an index on, which no reader of an
// upper directory here understands; with userxattr they are off.
func (m Mount) flags() (flags []string) {
	if UserXattrs() {
		flags = append(flags, "userxattr")
	}
	if m.Volatile && m.Upper != "" {
		flags = append(flags, "volatile")
	}
	return flags
}

func (m Mount) off() []string {
	if UserXattrs() {
		return nil
	}
	return []string{"redirect_dir", "metacopy", "index"}
}

// maxMountData is what mount(2) takes: one page, with its terminating zero.
const maxMountData = 4095

// Kernel mounts m at target. A single directory for reading is bound there: an
// overlay wants two.
func (m Mount) Kernel(target string) error {
	if len(m.Lowers) == 0 {
		return errors.New("there are no layers to mount")
	}
	if m.Upper == "" && len(m.Lowers) == 1 {
		return BindReadOnly(m.lower(0), target)
	}
	d, err := m.open()
	if err != nil {
		return err
	}
	defer d.close()
	// mount(2) is one call, and enough for most; the new interface takes one
	// option at a time, and hundreds of layers.
	if data := m.data(d); len(data) <= maxMountData {
		return os.NewSyscallError("mount overlay", unix.Mount("overlay", target, "overlay", m.mountFlags(), data))
	}
	return m.kernelLong(d, target)
}

func (m Mount) mountFlags() uintptr {
	if m.Upper == "" {
		return unix.MS_RDONLY
	}
	return 0
}

// lower is the path of a lower directory.
func (m Mount) lower(i int) string {
	if filepath.IsAbs(m.Lowers[i]) {
		return m.Lowers[i]
	}
	return filepath.Join(m.Home, m.Lowers[i])
}

// data is the option string for mount(2).
func (m Mount) data(d *directories) string {
	opts := []string{"lowerdir=" + strings.Join(d.lowers, ":")}
	if m.Upper != "" {
		opts = append(opts, "upperdir="+d.upper, "workdir="+d.work)
	}
	opts = append(opts, m.flags()...)
	for _, o := range m.off() {
		opts = append(opts, o+"=off")
	}
	return strings.Join(opts, ",")
}

func (m Mount) kernelLong(d *directories, target string) error {
	ctx, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(ctx)
	set := func(key, value string) error {
		return os.NewSyscallError("fsconfig "+key, unix.FsconfigSetString(ctx, key, value))
	}
	for _, l := range d.lowers {
		if err := set("lowerdir+", l); err != nil {
			return fmt.Errorf("%d layers are too many for this kernel, Linux 6.5 takes them: %w", len(m.Lowers), err)
		}
	}
	if m.Upper != "" {
		if err := errors.Join(set("upperdir", d.upper), set("workdir", d.work)); err != nil {
			return err
		}
	}
	for _, f := range m.flags() {
		if err := unix.FsconfigSetFlag(ctx, f); err != nil {
			return os.NewSyscallError("fsconfig "+f, err)
		}
	}
	for _, o := range m.off() {
		if err := set(o, "off"); err != nil {
			return err
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return os.NewSyscallError("fsconfig create", err)
	}
	attr := 0
	if m.Upper == "" {
		attr = unix.MOUNT_ATTR_RDONLY
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(fd)
	return os.NewSyscallError("move_mount", unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// directories are what a mount is made of, by descriptor. An option that is a
// path would need each ",", ":" and "\" in it escaped, differently for each
// interface, and one of the interfaces takes no more than 255 bytes.
type directories struct {
	files       []*os.File
	lowers      []string
	upper, work string
}

func (d *directories) close() {
	for _, f := range d.files {
		f.Close()
	}
}

// open opens the home, which the relative lower directories are named by, and
// every directory that is named by an absolute path.
func (m Mount) open() (_ *directories, err error) {
	d := &directories{lowers: make([]string, len(m.Lowers))}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	home := ""
	for i, l := range m.Lowers {
		if filepath.IsAbs(l) {
			if d.lowers[i], err = d.add(l); err != nil {
				return nil, err
			}
			continue
		}
		if home == "" {
			if home, err = d.add(m.Home); err != nil {
				return nil, err
			}
		}
		d.lowers[i] = home + "/" + l
	}
	if m.Upper == "" {
		return d, nil
	}
	if d.upper, err = d.add(m.Upper); err != nil {
		return nil, err
	}
	d.work, err = d.add(m.Work)
	return d, err
}

func (d *directories) add(dir string) (string, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	d.files = append(d.files, f)
	return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())), nil
}

// Fuse is the command that serves m at target; options are further ones of
// fuse-overlayfs ("uidmapping=..."). The caller starts it, and calls started
// then, or where it gives up. The command stays in the foreground with
// foreground, else it returns when the file system is there.
func (m Mount) Fuse(program, target string, foreground bool, options ...string) (_ *exec.Cmd, started func(), _ error) {
	for _, dir := range append([]string{m.Home, m.Upper, m.Work}, m.Lowers...) {
		if strings.Contains(dir, ":") {
			// It resolves each directory, and splits the text of that again.
			return nil, nil, fmt.Errorf("fuse-overlayfs takes no directory with \":\" in its path: %s", dir)
		}
	}
	d, err := m.open()
	if err != nil {
		return nil, nil, err
	}
	// The numbers that the program has them under begin with 3.
	from := make([]string, 0, 2*len(d.files))
	for i, f := range d.files {
		from = append(from, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), "/proc/self/fd/"+strconv.Itoa(3+i))
	}
	rename := func(p string) string {
		for i := 0; i < len(from); i += 2 {
			if rest, ok := strings.CutPrefix(p, from[i]); ok && (rest == "" || rest[0] == '/') {
				return from[i+1] + rest
			}
		}
		return p
	}
	for i := range d.lowers {
		d.lowers[i] = rename(d.lowers[i])
	}
	opts := []string{"lowerdir=" + strings.Join(d.lowers, ":")}
	if m.Upper != "" {
		opts = append(opts, "upperdir="+rename(d.upper), "workdir="+rename(d.work))
	}
	args := []string{"-o", strings.Join(append(opts, options...), ","), target}
	if foreground {
		args = append([]string{"-f"}, args...)
	}
	cmd := exec.Command(program, args...)
	cmd.ExtraFiles = d.files
	return cmd, d.close, nil
}

// BindReadOnly shows the directory src at target, for reading.
func BindReadOnly(src, target string) error {
	if err := unix.Mount(src, target, "", unix.MS_BIND, ""); err != nil {
		return &os.PathError{Op: "mount", Path: src, Err: err}
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		_ = unix.Unmount(target, unix.MNT_DETACH)
		return &os.PathError{Op: "mount read-only", Path: src, Err: err}
	}
	return nil
}
