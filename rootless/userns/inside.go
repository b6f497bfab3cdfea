// SPDX-License-Identifier: Apache-2.0

// Package userns makes, finds and enters the user namespace that all
// containers of one user share. It is held by the processes in it (each
// container's monitor) and vanishes with the last one: there is no process
// whose only job is to keep it.
//
// A program that is to be started inside must import this package: the C
// constructor in enter.c does the entering before main, even before the Go
// runtime.
package userns

/*
#include "enter.h"
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/pkg/subid"
)

// Variables by which containers/storage knows that it runs for an unprivileged
// user who is root in a user namespace already.
const (
	envConfigured = "_CONTAINERS_USERNS_CONFIGURED"
	envUID        = subid.EnvUID
	envGID        = "_CONTAINERS_ROOTLESS_GID"
)

// Inside reports whether this process was started in a namespace by this
// package, or is a descendant of such a process that kept its environment
// (a shell in "proa unshare").
func Inside() bool {
	return C.proa_userns_entered() != 0 || rootlessUID() > 0
}

// Enter finishes what Options.Early left open: it waits for the id maps,
// mounts /proc and tells the parent. It must be the first thing in main of a
// program that is started so, and does nothing where all is done. On an error,
// which the parent has been told, there is nothing left but to end.
func Enter() error {
	gate, sock := int(C.proa_userns_pending()), int(C.proa_userns_socket())
	if gate < 0 || sock < 0 {
		return nil
	}
	defer unix.Close(sock)
	defer unix.Close(gate)
	var b [1]byte
	for {
		n, err := unix.Read(gate, b[:])
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			return errs.New(errs.Internal, "the user namespace was not mapped")
		}
		break
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		errno, _ := err.(unix.Errno)
		send(sock, C.PROA_FAILED, C.PROA_STEP_PROC, int(errno))
		return errs.Wrap(err, "mount", "/proc")
	}
	send(sock, C.PROA_READY, 0, 0)
	return nil
}

func send(sock, message, value, code int) {
	var b [16]byte
	for i, v := range []uint32{C.PROA_MAGIC, uint32(message), uint32(value), uint32(code)} {
		binary.NativeEndian.PutUint32(b[4*i:], v)
	}
	_ = unix.Send(sock, b[:], unix.MSG_NOSIGNAL)
}

// UserID is the user's number on the host, inside the namespace too, where
// this process's own is 0.
func UserID() int { return subid.HostUID() }

func rootlessUID() int {
	if os.Geteuid() != 0 {
		return 0
	}
	uid, _ := strconv.Atoi(os.Getenv(envUID))
	return uid
}

// HostProc is a descriptor of the host's /proc (O_PATH, close-on-exec; never
// close it), to be used with openat and the like. Only a process started with
// NewPID has one; others get -1 and use /proc. A path for it is
// /proc/self/fd/N.
func HostProc() int { return int(C.proa_userns_hostproc()) }

// HostPID is this process's pid as the user's other commands see it. It
// differs from os.Getpid in a process started with NewPID.
func HostPID() (int, error) {
	fd := HostProc()
	if fd < 0 {
		return os.Getpid(), nil
	}
	buf := make([]byte, 32)
	n, err := unix.Readlinkat(fd, "self", buf)
	if err != nil {
		return 0, errs.Wrap(err, "read own process id", "")
	}
	return strconv.Atoi(string(buf[:n]))
}

// HostStart is this process's start time as HostPID's owner sees it: what
// stands beside a stored pid.
func HostStart() (uint64, error) {
	return StartTime(os.Getpid())
}

// StartTime is field 22 of /proc/PID/stat, in clock ticks since boot. A pid
// and its start time name one process for as long as the machine is up.
func StartTime(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	return parseStart(data)
}

// Current is the mapping of the namespace that this process is in.
func Current() (Mapping, error) {
	uids, err := readMap("/proc/self/uid_map")
	if err != nil {
		return Mapping{}, err
	}
	gids, err := readMap("/proc/self/gid_map")
	if err != nil {
		return Mapping{}, err
	}
	return Mapping{UIDs: uids, GIDs: gids, Single: len(uids) == 1 && uids[0].Count == 1}, nil
}

func readMap(path string) ([]spec.IDMap, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []spec.IDMap
	for line := range strings.Lines(string(text)) {
		var m spec.IDMap
		if _, err := fmt.Sscan(line, &m.Inside, &m.Outside, &m.Count); err != nil {
			return nil, errs.New(errs.Internal, "cannot read %s: %v", path, err)
		}
		out = append(out, m)
	}
	return out, nil
}
