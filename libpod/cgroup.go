// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"os"
	"path/filepath"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/ocispec"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/rootless/cgroup"
)

// cgroupFacts tells what limits a container can have here. base is what
// prepareCgroup has made, empty where nothing is to be made yet.
func cgroupFacts(h *ocispec.Host, p cgroup.Place, base string) {
	h.CgroupReason, h.CgroupFix = p.Reason, p.Fix
	if p.Kind == cgroup.None {
		return
	}
	h.Controllers = p.Controllers
	if h.Cgroup = base; base == "" {
		h.Cgroup = p.Parent
	}
}

// prepareCgroup makes the place for a container's cgroup ready. A host that
// has none is no error: only limits are refused then.
func (e *Engine) prepareCgroup(ctx context.Context, id string, l *launching) (p cgroup.Place, base string, err error) {
	if p = cgroup.Find(); p.Kind == cgroup.None {
		return p, "", nil
	}
	pid, err := l.handle.PID(ctx)
	if err != nil {
		return p, "", err
	}
	if base, err = p.Prepare(ctx, id, pid); err != nil {
		// Say so and go on without: a container without limits needs none,
		// one with limits is refused for want of a cgroup.
		e.notice(err.Error())
		return cgroup.Place{V2: p.V2, Reason: err.Error()}, "", nil
	}
	if p.Kind == cgroup.Direct {
		file := filepath.Join(e.dirs.ContainerRun(id), rundir.CgroupFile)
		err = atomicfile.Write(file, []byte(base), 0o600, atomicfile.Volatile)
	}
	return p, base, err
}

// clearCgroup removes what a killed monitor left in the cgroup tree.
func (e *Engine) clearCgroup(id string) {
	base, err := os.ReadFile(filepath.Join(e.dirs.ContainerRun(id), rundir.CgroupFile))
	if err != nil {
		return
	}
	cgroup.Find().Remove(string(base), id)
}

func cgroupInfo(i *Info) {
	p := cgroup.Find()
	i.CgroupVersion = 1
	if p.V2 {
		i.CgroupVersion = 2
	}
	i.CgroupDriver, i.CgroupControllers = p.Kind.String(), p.Controllers
	if p.Reason != "" {
		w := "limits: " + p.Reason
		if p.Fix != "" {
			w += "; to fix it: " + p.Fix
		}
		i.Warnings = append(i.Warnings, w)
	}
}
