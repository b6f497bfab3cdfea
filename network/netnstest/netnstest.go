// SPDX-License-Identifier: Apache-2.0

// Package netnstest lets tests of network code run as any user: the test
// binary starts itself again as root of a user namespace.
package netnstest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

const envInside = "PROA_NETNSTEST_INSIDE"

// Main is the body of a TestMain. The tests get a network namespace of their
// own that plays the host, so that they neither need nor touch this machine's
// network. With PROA_TEST_HOSTNET=1 the machine's own namespace is the host, as
// in reality: for measurements.
func Main(m *testing.M) int {
	if os.Getenv(envInside) != "" {
		return m.Run()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), envInside+"=1")
	flags := uintptr(syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET)
	if os.Getenv("PROA_TEST_HOSTNET") != "" {
		flags = syscall.CLONE_NEWUSER
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  flags,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	// The death signal follows the thread that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if err == nil {
		return 0
	}
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "cannot start the tests in a user namespace:", err)
	}
	return 1
}
