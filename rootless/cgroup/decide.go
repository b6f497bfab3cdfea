// SPDX-License-Identifier: Apache-2.0

// Package cgroup finds the place where a container's cgroup can live, and
// makes it ready. An unprivileged user has one only where the kernel runs
// cgroup v2 and somebody handed a part of the tree down: systemd to a unit
// with Delegate=yes, or the user's own systemd manager on request.
package cgroup

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Kind says how a container's cgroup comes to be.
type Kind int

const (
	None    Kind = iota // there is no place: no limits, the container stays in its starter's cgroup
	Direct              // cgroups are made below Parent by plain mkdir
	Systemd             // the user's systemd makes a scope that is then ours (Scope)
)

func (k Kind) String() string { return [...]string{"none", "cgroupfs", "systemd"}[k] }

// supervisor is the leaf into which processes of a delegated cgroup move: in
// cgroup v2 a group that hands controllers to its children has no processes.
const supervisor = "supervisor"

// Facts are what Decide goes by. Paths of cgroups are relative to the mount
// point and begin with "/".
type Facts struct {
	Root bool // real root: may do as it likes
	V2   bool // the unified hierarchy alone; false: v1 or hybrid

	Own            string // v2: the calling process's cgroup
	OwnWritable    bool   // it may make groups in Own and hand controllers on
	OwnDelegated   bool   // systemd says that Own is its user's business
	OwnControllers []string

	V1Controllers []string // root on v1: mounted controllers

	UserBus bool // a systemd user manager answers
	// ManagerControllers are those that the user manager's own cgroup has,
	// and so its scopes.
	ManagerControllers []string
}

// Place is where a container's cgroup can live.
type Place struct {
	Kind        Kind
	V2          bool
	Parent      string   // Direct: the cgroup to make others in; Systemd: the slice for scopes
	Controllers []string // that limits can use
	Reason      string   // None, or a controller missing: why
	Fix         string   // and what would change it
}

const (
	slice = "app.slice"

	fixV1 = "boot the host with cgroup v2: add systemd.unified_cgroup_hierarchy=1 to the kernel's command line"

	fixNoManager = "log in as this user through PAM or run \"loginctl enable-linger\", so that a systemd user manager runs " +
		"(XDG_RUNTIME_DIR=/run/user/$(id -u)); or start proa in a unit with Delegate=yes"

	fixDelegate = "as root: mkdir -p /etc/systemd/system/user@.service.d && " +
		"printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' > /etc/systemd/system/user@.service.d/delegate.conf && " +
		"systemctl daemon-reload, then log in again"
)

// Decide chooses. A delegated cgroup of our own comes before the user manager:
// a container that a unit started should stay in that unit, where stopping the
// unit finds it.
func Decide(f Facts) Place {
	switch {
	case f.Root && !f.V2:
		return Place{Kind: Direct, Parent: "/proa", Controllers: f.V1Controllers}
	case f.Root:
		return Place{Kind: Direct, V2: true, Parent: "/proa", Controllers: f.OwnControllers}
	case !f.V2:
		return Place{Reason: "this host runs cgroup v1, where limits need root", Fix: fixV1}
	case f.OwnWritable && f.OwnDelegated, f.OwnWritable && !f.UserBus:
		p := Place{Kind: Direct, V2: true, Parent: delegated(f.Own), Controllers: f.OwnControllers}
		return p.explainMissing("the cgroup " + p.Parent + " was handed down without them")
	case f.UserBus:
		p := Place{Kind: Systemd, V2: true, Parent: slice, Controllers: f.ManagerControllers}
		return p.explainMissing("systemd does not delegate them to users")
	}
	return Place{V2: true, Reason: "no systemd user manager answers and the cgroup " + f.Own + " is not yours", Fix: fixNoManager}
}

// delegated is the cgroup that was handed down: own, or its parent once our
// processes have moved into the leaf.
func delegated(own string) string {
	if path.Base(own) == supervisor {
		return path.Dir(own)
	}
	return own
}

// wanted are the controllers that limits of ours use.
var wanted = [...]string{"cpu", "cpuset", "io", "memory", "pids"}

func (p Place) explainMissing(why string) Place {
	var missing []string
	for _, c := range wanted {
		if !slices.Contains(p.Controllers, c) {
			missing = append(missing, c)
		}
	}
	if missing != nil {
		p.Reason = fmt.Sprintf("controllers missing (%s): %s", strings.Join(missing, ", "), why)
		p.Fix = fixDelegate
	}
	return p
}
