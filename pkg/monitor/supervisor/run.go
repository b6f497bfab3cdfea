// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
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

// closedMount is a directory of the caller's that is mounted for writing, and that
// the container's user may not write to; "" where there is none. It is asked after
// a failure only.
func closedMount(cfg *monitor.Config, id inroot.Identity) string {
	if id.UID == 0 || len(cfg.Container.UIDMappings) > 0 || os.Geteuid() != 0 || cfg.Account != nil {
		return ""
	}
	for _, m := range cfg.Container.Mounts {
		if m.Device != "bind" || m.Flags&unix.MS_RDONLY != 0 || cfg.Files.Dir != "" && strings.HasPrefix(m.Source, cfg.Files.Dir+"/") {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(m.Source, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 || st.Mode&0o002 != 0 {
			continue // root of the user's namespace is the user
		}
		if st.Mode&0o020 != 0 && (int(st.Gid) == id.GID || slices.Contains(id.Groups, int(st.Gid))) {
			continue
		}
		if !slices.ContainsFunc(cfg.Volumes, func(v monitor.VolumeMount) bool { return v.Dir != "" && v.Target == m.Destination }) {
			return m.Destination
		}
	}
	return ""
}

// refusal explains why the kernel did not execute p's program, nil where it did.
func (s *supervisor) refusal(p *process, f inroot.Finder) error {
	if !p.refused {
		return nil
	}
	return s.attempt(f, p.p, errs.Invalid).ExplainRefusal()
}

// attempt is what to look at after p could not be started.
func (s *supervisor) attempt(f inroot.Finder, p *libcontainer.Process, noDir errs.Kind) *inroot.Attempt {
	c := s.cfg.Container
	return &inroot.Attempt{
		Finder: f, Name: p.Args[0], Path: getenv(p.Env, "PATH"), Dir: p.Cwd, InDir: noDir,
		User:     inroot.Identity{UID: p.UID, GID: p.GID, Groups: p.AdditionalGroups},
		Override: p.Capabilities == nil || slices.Contains(p.Capabilities.Effective, "CAP_DAC_OVERRIDE"),
		UIDs:     c.UIDMappings, GIDs: c.GIDMappings,
	}
}

// run is one life of the container's main process.
type run struct {
	*process
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

func getenv(env []string, key string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(env[i], "="); ok && k == key {
			return v
		}
	}
	return ""
}
