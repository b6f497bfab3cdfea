// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"os"
	"os/exec"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/ocispec"
	"github.com/proa-containers/proa/pkg/spec"
)

// resolveJoins finds the containers whose namespaces are to be shared and
// replaces their names by ids: names can change.
func (e *Engine) resolveJoins(ctx context.Context, d *draft) error {
	sec, net := &d.body.Spec.Security, &d.body.Spec.Network
	for _, mode := range []*string{&sec.PidMode, &sec.IpcMode, &sec.UtsMode} {
		if ref, ok := strings.CutPrefix(*mode, "container:"); ok {
			c, err := e.load(ctx, ref)
			if err != nil {
				return err
			}
			if mode == &sec.IpcMode {
				if err := e.checkShareable(c); err != nil {
					return err
				}
			}
			*mode = "container:" + c.ID
		}
	}
	if net.Mode == spec.NetContainer {
		c, err := e.load(ctx, net.Container)
		if err != nil {
			return err
		}
		net.Container = c.ID
	}
	return nil
}

// checkShareable refuses what Docker refuses: a container's IPC namespace is its own
// unless it was made with --ipc shareable, or shares another one itself.
func (e *Engine) checkShareable(c *container) error {
	body, err := e.body(c.ID)
	if err != nil {
		return err
	}
	switch body.Spec.Security.IpcMode {
	case "", "private", "none":
		return errs.WithHint(errs.New(errs.State, "cannot join the IPC namespace of container %s: non-shareable IPC", c.Name),
			"make that container with --ipc shareable")
	}
	return nil
}

// joinable finds a container whose namespaces can be entered now.
func (e *Engine) joinable(ctx context.Context, ref string) (*monitor.Status, error) {
	c, err := e.load(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := c.away(); err != nil {
		return nil, err
	}
	if err := c.understood(); err != nil {
		return nil, err
	}
	if !c.running() || c.status == nil || c.status.PID == 0 {
		return nil, errs.WithHint(errs.New(errs.State, "cannot join the namespaces of a non running container: %s", c.Name),
			"proa start %s", c.Name)
	}
	if c.run != e.dirs.ContainerRun(c.ID) {
		return nil, errs.WithHint(errs.New(errs.Unsupported,
			"cannot join the namespaces of container %q: it runs with another runtime directory, in a user namespace of its own",
			c.Name),
			"use the shell or the job that started it")
	}
	return c.status, nil
}

// joined are the namespaces of other containers that one is to enter.
type joined struct {
	ocispec.Join
	netRun string // runtime directory of the container whose network is shared
	// shm is the mount namespace that has the /dev/shm to share; empty: none.
	shm string
	// outside: the monitor must stay in the host's pid namespace. A process
	// can enter a pid namespace only below its own, and another container's
	// is below another monitor's.
	outside bool
	// files are namespaces that the monitor, whose /proc shows its own pid
	// namespace only, gets as descriptors; paths are where their names go.
	files []*os.File
	paths []*string
}

// joins finds the namespaces to enter, now that the container starts.
func (e *Engine) joins(ctx context.Context, c *spec.Container) (*joined, error) {
	sec := &c.Security
	j := &joined{outside: sec.PidMode == "host" || strings.HasPrefix(sec.PidMode, "container:")}
	for _, w := range []struct {
		mode, kind string
		to         *string
	}{{sec.PidMode, "pid", &j.PID}, {sec.IpcMode, "ipc", &j.IPC}, {sec.UtsMode, "uts", &j.UTS}} {
		ref, ok := strings.CutPrefix(w.mode, "container:")
		if !ok {
			continue
		}
		st, err := e.joinable(ctx, ref)
		if err != nil {
			j.close()
			return nil, err
		}
		ns := "/proc/" + itoa(st.PID) + "/ns/"
		if sameNamespace(ns+w.kind, "/proc/self/ns/"+w.kind) {
			*w.to = ocispec.HostNamespace
			continue
		}
		*w.to = ns + w.kind
		err = j.hand(w.to)
		if err == nil && w.kind == "ipc" {
			j.shm = ns + "mnt"
			err = j.hand(&j.shm)
		}
		if err != nil {
			j.close()
			return nil, err
		}
	}
	if c.Network.Mode == spec.NetContainer {
		st, err := e.joinable(ctx, c.Network.Container)
		if err != nil {
			j.close()
			return nil, err
		}
		j.Network = st.Attachment.Mode
		j.netRun = e.dirs.ContainerRun(c.Network.Container)
	}
	return j, nil
}

func sameNamespace(a, b string) bool {
	x, err := os.Readlink(a)
	if err != nil {
		return false
	}
	y, err := os.Readlink(b)
	return err == nil && x == y
}

// hand opens a namespace for a monitor that cannot see its path.
func (j *joined) hand(path *string) error {
	if j.outside {
		return nil
	}
	f, err := os.Open(*path)
	if err != nil {
		return errs.Wrap(err, "enter namespace", *path)
	}
	j.files, j.paths = append(j.files, f), append(j.paths, path)
	return nil
}

// inherit gives the descriptors to the monitor, which is process 1 of its pid
// namespace: so they have names for its children, too.
func (j *joined) inherit(cmd *exec.Cmd) {
	for i, f := range j.files {
		*j.paths[i] = "/proc/1/fd/" + itoa(3+len(cmd.ExtraFiles))
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
}

func (j *joined) close() {
	for _, f := range j.files {
		_ = f.Close()
	}
	j.files = nil
}
