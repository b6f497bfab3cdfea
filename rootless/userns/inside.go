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
	"fmt"
	"os"
	"strconv"
	"strings"

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
