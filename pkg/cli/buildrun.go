// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/spec"
)

// buildRunFlags are the flags about the containers of RUN steps.
type buildRunFlags struct {
	addHosts []string
	capAdd   []string
	capDrop  []string
}

func (r *buildRunFlags) register(f *flagSet, o *build.Options) {
	f.text(&o.Network, "network", "", `Set the networking mode for the RUN instructions ("default", "none", "host")`)
	f.texts(&r.addHosts, "add-host", "", `Add a custom host-to-IP mapping (format: "host:ip")`)
	f.texts(&r.capAdd, "cap-add", "", "Add Linux capabilities for RUN")
	f.texts(&r.capDrop, "cap-drop", "", "Drop Linux capabilities for RUN")
	parsed(f, &o.ShmSize, "shm-size", "", "bytes", "Size of /dev/shm for RUN", spec.ParseSize)
	parsed(f, &o.Resources.Memory, "memory", "m", "bytes", "Memory limit for RUN", spec.ParseSize)
	parsedList(f, &o.Resources.Ulimits, "ulimit", "", "ulimit", "Ulimit options for RUN", spec.ParseUlimit)
	f.refuse("cgroup settings of RUN steps other than --memory are not implemented", "leave it away", "cgroup-parent", "cpu-period", "cpu-quota", "cpu-shares", "cpuset-cpus", "cpuset-mems", "memory-swap", "isolation", "security-opt")
}

func (r *buildRunFlags) fill(o *build.Options) (err error) {
	for _, h := range r.addHosts {
		hosts, err := spec.ParseAddHost(h)
		if err != nil {
			return err
		}
		o.ExtraHosts = append(o.ExtraHosts, hosts...)
	}
	if o.CapAdd, err = spec.ParseCaps(r.capAdd); err != nil {
		return err
	}
	o.CapDrop, err = spec.ParseCaps(r.capDrop)
	return err
}
