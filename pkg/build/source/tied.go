// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/subid"
)

// gate waits for a line on descriptor 3, then becomes the command. This process writes the
// line once the kernel is told to end the command with it. If this process died before,
// gate reads an end of file and exits.
const gate = `read -r go <&3 && exec 3<&- && exec "$0" "$@"`

// runTied runs a command that ends with this process, however that dies, and so does
// everything that it has started: a git that waits for a silent server would go on for
// ever, and the helper that does the waiting for it even without git. command makes the
// command, anew for each attempt to start it.
//
// The command is process 1 of a pid namespace of its own, with whose end the kernel kills
// the rest, and the kernel kills it when the thread that started it is gone: this one,
// which waits for it. Where no such namespace can be made, only git itself ends so.
func runTied(command func() *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	defer r.Close()
	var cmd *exec.Cmd
	for _, in := range namespaces() {
		cmd = command()
		cmd.Args = slices.Concat([]string{"sh", "-c", gate, cmd.Path}, cmd.Args[1:])
		cmd.Path = "/bin/sh"
		cmd.ExtraFiles = []*os.File{r}
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		cmd.SysProcAttr.Cloneflags = in.flags
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = in.user, in.group
		if err = cmd.Start(); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EACCES) {
			break
		}
	}
	if err != nil {
		return err
	}
	_, _ = w.WriteString("go\n") // where it has ended already, Wait tells
	return cmd.Wait()
}

// namespace is where a tied command runs.
type namespace struct {
	flags       uintptr
	user, group []syscall.SysProcIDMap
}

// namespaces are those to try, the best one first. But for the real root, who needs none,
// the first one is a user namespace too. Its only user has the number that the user has on
// the host: ssh looks in /etc/passwd for the home directory of its user, where the keys and
// the known hosts are, and does not ask HOME. As root of the user's namespace it would take
// those of the host's root.
func namespaces() []namespace {
	host, here := subid.HostUID(), os.Geteuid()
	own := namespace{
		flags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		user:  []syscall.SysProcIDMap{{ContainerID: host, HostID: here, Size: 1}},
		group: []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}},
	}
	pid := namespace{flags: syscall.CLONE_NEWPID}
	switch {
	case here != 0:
		return []namespace{own, {}}
	case host == here:
		return []namespace{pid, {}}
	}
	return []namespace{own, pid, {}}
}
