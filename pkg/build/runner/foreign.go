// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/build/machine"
	"github.com/proa-containers/proa/pkg/errs"
)

// foreignProgram explains why the kernel refused to run a step: its program is
// for another machine, and the kernel knows no emulator. nil: that is not why.
func foreignProgram(s *Step, step engine.RunStep) error {
	if len(step.Container.Process.Args) == 0 {
		return nil
	}
	if !machine.Refuses(programHead(s.Scratch, step)) {
		return nil
	}
	target := strings.TrimSuffix(strings.Join([]string{s.Image.OS, s.Image.Architecture, s.Image.Variant}, "/"), "/")
	return errs.WithHint(errs.New(errs.Unsupported, "cannot run %s for %s on this %s machine: exec format error: the kernel has no emulator for it", step.Container.Process.Args[0], target, dockerfile.HostPlatform()),
		"install one (Debian, Ubuntu: apt-get install qemu-user-static binfmt-support; Fedora: dnf install qemu-user-static), or run the step in a stage FROM --platform=$BUILDPLATFORM")
}

// programHead is the beginning of the step's program; nil where it cannot be
// found.
func programHead(sc engine.Scratch, step engine.RunStep) []byte {
	merged, err := sc.Merged()
	if err != nil {
		return nil
	}
	defer sc.Unmount() //nolint:errcheck // the failure of the step is what counts
	r, err := files.OpenRoot(merged)
	if err != nil {
		return nil
	}
	defer r.Close()
	for _, p := range programPaths(step) {
		fd, err := r.Open(p, unix.O_RDONLY|unix.O_NONBLOCK)
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), p)
		head := make([]byte, 256) // as much as the kernel looks at
		n, _ := f.ReadAt(head, 0) // a short program ends early
		f.Close()
		if n > 0 {
			return head[:n]
		}
	}
	return nil
}

func programPaths(step engine.RunStep) []string {
	name := step.Container.Process.Args[0]
	if strings.Contains(name, "/") {
		return []string{path.Join("/", step.Config.WorkingDir, name), name}
	}
	dirs, _ := dockerfile.Env(step.Config.Env).Over(step.Container.Process.Env).Get("PATH")
	var out []string
	for _, d := range strings.Split(dirs, ":") {
		out = append(out, path.Join("/", d, name))
	}
	return out
}
