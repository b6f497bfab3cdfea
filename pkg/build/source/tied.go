// SPDX-License-Identifier: Apache-2.0

package source

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
)

// gate waits for a line on descriptor 3, then becomes the command. This process writes the
// line once the kernel is told to end the command with it. If this process died before,
// gate reads an end of file and exits.
const gate = `read -r go <&3 && exec 3<&- && exec "$0" "$@"`

// runTied runs a command that ends with this process, however that dies, and so does
// everything that it has started: a git that waits for a silent server would go on for
// ever, and the helper that does the waiting for it even without git.
//
// The command is process 1 of a pid namespace of its own, with whose end the kernel kills
// the rest, and the kernel kills it when the thread that started it is gone: this one,
// which waits for it. Without the right to make such a namespace (a check runs as the user,
// not as root of the user's namespace) only git itself ends.
func runTied(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	defer r.Close()
	cmd.Args = slices.Concat([]string{"sh", "-c", gate, cmd.Path}, cmd.Args[1:])
	cmd.Path = "/bin/sh"
	cmd.ExtraFiles = []*os.File{r}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, _ = w.WriteString("go\n") // where it has ended already, Wait tells
	return cmd.Wait()
}
