// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor/process"
	"github.com/proa-containers/proa/pkg/monitor/rootfs/inroot"
)

// startError gives a failed start of p the meaning it has for the user.
func (s *supervisor) startError(err error, p *libcontainer.Process) error {
	// The runtime makes a missing working directory: where that fails, nobody
	// has named a wrong one.
	if e := s.attempt(s.finder(), p, errs.Invalid).Explain(); e != nil {
		return e
	}
	return &errs.Error{Op: "start container", Kind: errs.KindOf(err), Err: err}
}

// refusal explains why the kernel did not execute p's program, nil where it did.
func (s *supervisor) refusal(p *process.Process, f inroot.Finder) error {
	if !p.Refused {
		return nil
	}
	return s.attempt(f, p.P, errs.Invalid).ExplainRefusal()
}

// attempt is what to look at after p could not be started.
func (s *supervisor) attempt(f inroot.Finder, p *libcontainer.Process, noDir errs.Kind) *inroot.Attempt {
	c := s.cfg.Container
	return &inroot.Attempt{
		Finder: f, Name: p.Args[0], Path: process.Getenv(p.Env, "PATH"), Dir: p.Cwd, InDir: noDir,
		User:     inroot.Identity{UID: p.UID, GID: p.GID, Groups: p.AdditionalGroups},
		Override: p.Capabilities == nil || slices.Contains(p.Capabilities.Effective, "CAP_DAC_OVERRIDE"),
		UIDs:     c.UIDMappings, GIDs: c.GIDMappings,
	}
}

// run is one life of the container's main process.
type run struct {
	*process.Process
	c       *libcontainer.Container
	pumps   sync.WaitGroup
	started time.Time
	env     []string
	user    inroot.Identity
	code    int
	signal  int
	refusal error // why the program was not executed
	oom     bool
	done    chan struct{} // closed after the last byte of output
}

// drainTime is how long a stream may stay open after the process has gone,
// without a byte: something outside the container's pid namespace holds it.
const drainTime = 2 * time.Second
