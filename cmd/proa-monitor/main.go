// SPDX-License-Identifier: Apache-2.0

// Command proa-monitor supervises one container. proa starts it; it is not
// meant to be started by hand.
package main

import (
	"fmt"
	"os"

	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // its C code runs before Go does

	"github.com/proa-containers/proa/pkg/monitor/supervisor"
	_ "github.com/proa-containers/proa/rootless/userns" // the same: enters the namespaces
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		libcontainer.Init() // inside a new container; does not return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "proa-monitor:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 || args[0] != "container" {
		return fmt.Errorf("usage: proa-monitor container RUNDIR (proa starts it)")
	}
	return supervisor.Run(supervisor.Options{RunDir: args[1]})
}
