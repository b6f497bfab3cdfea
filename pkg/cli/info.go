// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
)

func infoCommand() *command {
	return &command{
		name: "info", args: "", short: "Display system-wide information",
		setup: func(f *flagSet) action {
			var format string
			f.text(&format, "format", "f", `Format output using a custom template: "json" or a Go template`).suggests(words("json"))
			return func(ctx context.Context, a *app, args []string) error { return runInfo(ctx, a, format) }
		},
	}
}

// infoDocument adds the names that Docker's info has for the same facts.
type infoDocument struct {
	*libpod.Info
	ServerVersion     string
	ContainersRunning int
	ContainersPaused  int
	ContainersStopped int
	Driver            string
	LoggingDriver     string
	CgroupDriver      string
	CgroupVersion     string
	NCPU              int
	MemTotal          uint64
	Name              string
	OperatingSystem   string
	OSType            string
	Architecture      string
	KernelVersion     string
	DockerRootDir     string
	SecurityOptions   []string
}

func runInfo(ctx context.Context, a *app, format string) error {
	e, err := engineOf[systemEngine](ctx, a)
	if err != nil {
		return err
	}
	i, err := e.Info(ctx)
	if err != nil {
		return err
	}
	if format != "" {
		return a.out.Template(format, infoFor(i))
	}
	a.out.Print(infoText(i))
	for _, w := range i.Warnings {
		a.out.Warning(w)
	}
	return nil
}

func infoFor(i *libpod.Info) infoDocument {
	d := infoDocument{Info: i, ServerVersion: i.Version, ContainersRunning: i.Running, ContainersPaused: i.Paused, ContainersStopped: i.Stopped,
		Driver: i.StorageDriver, LoggingDriver: i.LogDriver, CgroupDriver: i.CgroupDriver, CgroupVersion: fmt.Sprint(i.CgroupVersion),
		NCPU: i.CPUs, MemTotal: i.Memory, Name: i.Hostname, OperatingSystem: i.OS, OSType: "linux", Architecture: i.Arch, KernelVersion: i.Kernel,
		DockerRootDir: i.StorageRoot, SecurityOptions: []string{"name=seccomp,profile=builtin"}}
	if i.Rootless {
		d.SecurityOptions = append(d.SecurityOptions, "name=rootless")
	}
	return d
}

func infoText(i *libpod.Info) string {
	var b strings.Builder
	line := func(key string, value any) { fmt.Fprintf(&b, " %s: %v\n", key, value) }
	v := new(libpod.Engine).Version()
	fmt.Fprintf(&b, "Client:\n Version: %s\n\nServer:\n", v.Version)
	line("Containers", i.Containers)
	fmt.Fprintf(&b, "  Running: %d\n  Paused: %d\n  Stopped: %d\n", i.Running, i.Paused, i.Stopped)
	line("Images", i.Images)
	line("Server Version", i.Version)
	line("Storage Driver", i.StorageDriver)
	line("Logging Driver", i.LogDriver)
	line("Cgroup Driver", i.CgroupDriver)
	line("Cgroup Version", i.CgroupVersion)
	line("Cgroup Controllers", orNone(i.CgroupControllers))
	fmt.Fprintf(&b, " Plugins:\n  Network: %s\n  Log: %s\n", orNone(i.Networks), orNone(i.LogDrivers))
	line("Uplink", i.Uplink)
	line("Security Options", "seccomp")
	line("Rootless", i.Rootless)
	line("Subordinate Ids", i.SubordinateIDs)
	line("Kernel Version", i.Kernel)
	line("Operating System", i.OS)
	line("OSType", "linux")
	line("Architecture", i.Arch)
	line("CPUs", i.CPUs)
	line("Total Memory", output.IEC(i.Memory))
	line("Name", i.Hostname)
	line("Root Dir", i.StorageRoot)
	line("Run Dir", i.RunRoot)
	line("Database", i.DatabasePath+" ("+i.DatabaseJournal+")")
	return b.String()
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, " ")
}
