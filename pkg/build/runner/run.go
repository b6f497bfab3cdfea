// SPDX-License-Identifier: Apache-2.0

// Package runner executes one RUN of a Dockerfile in a container: it prepares the
// step's mounts and removes them again, keeps what starting a container leaves behind
// out of the layer, and explains failures. The caller decides which command runs and
// whether it needs to.
package runner

import (
	"context"
	"io"
	"slices"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// Host is what all steps of a build have in common.
type Host struct {
	Engine    engine.Engine
	Tmp       string // private, on a disk; removed after the build
	SecretDir string // where private directories for secrets are made, in memory
	Secrets   map[string]Secret
	SSH       map[string]string // id -> agent socket
	Getenv    func(string) (string, bool)
	// CacheNamespace: cache mounts of the same id in another one are other directories.
	CacheNamespace string
}

// Secret is one --secret.
type Secret struct {
	File string // read when needed
	Env  string // or the content of this variable
	Text []byte // or the content itself: of what can be read only once
}

// Step is one RUN.
type Step struct {
	Scratch        engine.Scratch // gets the changes
	Below          engine.Layer   // the state before the step
	Image          dockerspec.DockerOCIImage
	Container      spec.Container // with command and variables, without the mounts of its own
	Script         string         // to be at ScriptPath; empty: nothing is
	Shell          string         // of a person who looks at the failure
	Mounts         []Mount
	Stdout, Stderr io.Writer
	Started        func(id string) // is told the container
}

// Do prepares the mounts, runs the step and removes the empty mount points that it
// left in the layer. A command that returned non-zero is a *Failed.
func (h *Host) Do(ctx context.Context, s *Step) error {
	ms := &mountSet{host: h, workdir: s.Image.Config.WorkingDir}
	defer ms.close()
	if err := ms.prepare(ctx, s.Mounts, s.Script); err != nil {
		return err
	}
	c := s.Container
	c.Mounts = slices.Concat(c.Mounts, ms.mounts)
	c.Process.Env = slices.Concat(c.Process.Env, ms.env)
	stubs, err := missingTargets(s.Scratch, c.Mounts)
	if err != nil {
		return err
	}
	step := engine.RunStep{
		Rootfs: s.Scratch.Rootfs(), Architecture: s.Image.Architecture, Config: s.Image.Config, Container: c,
		Stdout: s.Stdout, Stderr: s.Stderr, Started: s.Started, Mounted: ms.mounted,
	}
	code, err := h.Engine.Run(ctx, step)
	if errs.Is(err, errs.CannotInvoke) {
		if foreign := foreignProgram(s, step); foreign != nil {
			return foreign
		}
	}
	if err != nil {
		return err
	}
	if err := removeStubs(s.Scratch.Upper(), stubs); err != nil {
		return err
	}
	if code == 0 {
		return nil
	}
	return s.failed(code)
}

// interactive is the command for a person in the place of a step with this shell: bash where the
// image has it, since the sh of many images has neither history nor arrow keys.
func interactive(shell string) []string {
	if shell != "/bin/sh" {
		return []string{shell} // the Dockerfile chose it
	}
	return []string{shell, "-c", "if [ -x /bin/bash ]; then exec /bin/bash; fi; exec /bin/sh"}
}

// failed is the error of a command that returned non-zero. Programs match its text,
// which is Docker's.
func (s *Step) failed(code int) error {
	err := errs.New(errs.Invalid, "The command '%s' returned a non-zero code: %d", strings.Join(s.Container.Process.Args, " "), code) //nolint:staticcheck // Docker's sentence
	c := s.Container
	c.Process.Args = interactive(s.Shell)
	return &Failed{err: err, top: s.Below, step: engine.RunStep{Architecture: s.Image.Architecture, Config: s.Image.Config, Container: c}}
}
