// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/files"
)

// agentSocket makes a socket in a private directory that leads to the user's
// ssh agent: its owner and mode are the step's affair, the agent's own socket
// stays what it is.
func agentSocket(dir, agent string, mode os.FileMode, own files.Owner) (path string, stop func() error, err error) {
	path = filepath.Join(dir, "agent")
	// The address of a socket holds 108 bytes, and a run directory may be longer:
	// the directory's descriptor is a short name for it.
	at, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", nil, err
	}
	ln, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/agent", at.Fd()))
	if err != nil {
		return "", nil, errors.Join(err, at.Close())
	}
	// The listener removes its socket by that name.
	stop = func() error { return errors.Join(ln.Close(), at.Close()) }
	if err := errors.Join(os.Chmod(path, mode), os.Chown(path, own.UID, own.GID)); err != nil {
		return "", nil, errors.Join(err, stop())
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // closed
			}
			go relay(c, agent)
		}
	}()
	return path, stop, nil
}

// relay joins a client with the agent until one of them ends.
func relay(c net.Conn, agent string) {
	defer c.Close()
	a, err := net.Dial("unix", agent)
	if err != nil {
		return
	}
	defer a.Close()
	go func() {
		_, _ = io.Copy(a, c) // ends when either is closed
		_ = a.(*net.UnixConn).CloseWrite()
	}()
	_, _ = io.Copy(c, a)
}
