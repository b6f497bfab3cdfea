// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
)

// mountShm mounts the /dev/shm of another container in our own mount namespace.
// The file system lives as long as one of the two containers has it: the other one
// may end, be killed, or start again with a new one.
func mountShm(shm *monitor.SharedShm) error {
	fd, err := cloneShm(shm.Namespace)
	// A descriptor of the namespace would keep the other container's mounts, and
	// with them its files, in use beyond its end.
	if n, ok := strings.CutPrefix(shm.Namespace, "/proc/1/fd/"); ok {
		if n, err := strconv.Atoi(n); err == nil {
			unix.Close(n)
		}
	}
	if err != nil {
		return errs.New(errs.KindOf(err), "cannot share the /dev/shm of the container whose IPC namespace is joined: %w", err)
	}
	defer unix.Close(fd)
	if err := os.Mkdir(shm.Dir, 0o700); err != nil {
		return errs.Wrap(err, "create directory", shm.Dir)
	}
	return errs.Wrap(unix.MoveMount(fd, "", unix.AT_FDCWD, shm.Dir, unix.MOVE_MOUNT_F_EMPTY_PATH), "mount /dev/shm at", shm.Dir)
}

// cloneShm is the mount at /dev/shm of a mount namespace, mounted nowhere. The
// kernel clones mounts of the caller's own namespace only, so a thread enters that
// one, and ends there.
func cloneShm(namespace string) (fd int, err error) {
	ns, err := os.Open(namespace)
	if err != nil {
		return -1, err
	}
	defer ns.Close()
	done := make(chan struct{})
	netns.OnThread(func() {
		defer close(done)
		// The root and working directory change as well.
		if err = unix.Unshare(unix.CLONE_FS); err != nil {
			err = os.NewSyscallError("unshare", err)
			return
		}
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
			err = os.NewSyscallError("setns", err)
			return
		}
		// The paths are the other container's: no link leads elsewhere.
		var dir int
		dir, err = unix.Openat2(unix.AT_FDCWD, "/dev/shm", &unix.OpenHow{
			Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
		if err != nil {
			err = &os.PathError{Op: "open", Path: "/dev/shm", Err: err}
			return
		}
		defer unix.Close(dir)
		fd, err = unix.OpenTree(dir, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
		err = os.NewSyscallError("open_tree", err)
	})
	<-done
	return fd, err
}
