// SPDX-License-Identifier: Apache-2.0

// Command proa-monitor supervises one container, or becomes the uplink of a
// user's bridges. proa starts it; it is not meant to be started by hand.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "github.com/opencontainers/runc/libcontainer/nsenter" // its C code runs before Go does

	"github.com/proa-containers/proa/network"
	"github.com/proa-containers/proa/network/uplink"
	"github.com/proa-containers/proa/pkg/monitor/process"
	"github.com/proa-containers/proa/pkg/monitor/supervisor"
	_ "github.com/proa-containers/proa/rootless/userns" // the same: enters the namespaces
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		process.Init() // inside a new container; does not return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "proa-monitor:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "container":
		return supervisor.Run(supervisor.Options{RunDir: args[1], Network: driver(args[1]), OpenLog: openLog})
	case len(args) > 0 && args[0] == "uplink":
		return uplink.Main(args[1:])
	}
	return errors.New("usage: proa-monitor container RUNDIR (proa starts it)")
}

// driver is the network driver of the monitor in runDir.
func driver(runDir string) func(*os.File) supervisor.Network {
	return func(hostProc *os.File) supervisor.Network {
		env := network.Env{RunDir: runDir, HostProc: hostProc}
		if self, err := os.Executable(); err == nil {
			env.Netstack = []string{filepath.Join(filepath.Dir(self), "proa"), "__netstack"}
		}
		return network.Driver{Env: env}
	}
}
