// SPDX-License-Identifier: Apache-2.0

package userns

/*
#include "enter.h"
*/
import "C"

import (
	"os"
	"strings"
	"syscall"

	"github.com/proa-containers/proa/pkg/errs"
)

// The steps of enter.c by Go names.
const (
	stepFork         = C.PROA_STEP_FORK
	stepUnshareUser  = C.PROA_STEP_UNSHARE_USER
	stepHelper       = C.PROA_STEP_HELPER
	stepSetns        = C.PROA_STEP_SETNS
	stepUnshareMount = C.PROA_STEP_UNSHARE_MOUNT
	stepProc         = C.PROA_STEP_PROC
	stepOverlay      = C.PROA_STEP_OVERLAY
)

// failure is what enter.c reports.
type failure struct {
	step, code int
	text       string // of newuidmap and newgidmap
}

// facts are the host's switches that forbid user namespaces; "" where a switch
// does not exist.
type facts struct {
	clone    string // kernel.unprivileged_userns_clone (Debian's patch)
	apparmor string // kernel.apparmor_restrict_unprivileged_userns (Ubuntu)
	max      string // user.max_user_namespaces
	exe      string
	user     string
}

func hostFacts() facts {
	read := func(path string) string {
		b, _ := os.ReadFile(path)
		return strings.TrimSpace(string(b))
	}
	exe, _ := os.Executable()
	return facts{
		clone:    read("/proc/sys/kernel/unprivileged_userns_clone"),
		apparmor: read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
		max:      read("/proc/sys/user/max_user_namespaces"),
		exe:      exe,
		user:     loginName(os.Getuid()),
	}
}

var stepNames = [...]string{
	C.PROA_STEP_CONFIG:        "read the entry configuration",
	C.PROA_STEP_FORK:          "fork",
	C.PROA_STEP_UNSHARE_USER:  "create a user namespace",
	C.PROA_STEP_HELPER:        "map subordinate ids",
	C.PROA_STEP_SINGLE_MAP:    "map the user id",
	C.PROA_STEP_SETNS:         "join the user namespace",
	C.PROA_STEP_SETID:         "become root in the user namespace",
	C.PROA_STEP_UNSHARE_MOUNT: "create a mount namespace",
	C.PROA_STEP_UNSHARE_PID:   "create a pid namespace",
	C.PROA_STEP_PROPAGATION:   "set the mount propagation",
	C.PROA_STEP_PROC:          "mount /proc",
	C.PROA_STEP_OVERLAY:       "mount overlay",
}

func stepName(step int) string {
	if step > 0 && step < len(stepNames) {
		return stepNames[step]
	}
	return "enter the user namespace"
}

// explain turns a failure into a sentence with the next step.
func explain(f failure, host facts) error {
	e := &errs.Error{Op: stepName(f.step), Kind: errs.Denied, Err: syscall.Errno(f.code)}
	switch f.step {
	case stepHelper:
		return explainHelper(e, f, host)
	case stepProc:
		e.Hint = "parts of /proc are masked here, as inside a container: start the outer container with " +
			"\"--security-opt systempaths=unconfined\" (Docker) or \"--security-opt unmask=ALL\" (podman, proa)"
		return e
	case stepOverlay:
		e.Kind = errs.Unsupported
		e.Hint = "install fuse-overlayfs: sudo apt-get install fuse-overlayfs; or keep the data on another file system: PROA_DATA_DIR"
		return e
	case stepFork:
		e.Hint = "the limit of processes is reached: see \"ulimit -u\" and the pids limit of your session (systemctl show -p TasksMax user-$(id -u).slice)"
		return e
	}
	e.Hint = switchHint(f, host)
	return e
}

func explainHelper(e *errs.Error, f failure, host facts) error {
	helper, file := "newuidmap", "/etc/subuid"
	if f.code&1 == 0 {
		helper, file = "newgidmap", "/etc/subgid"
	}
	text := f.text
	if text == "" {
		text = helper + " failed"
	}
	e.Err = errs.New(errs.Denied, "%s", strings.ReplaceAll(text, "\n", "; "))
	switch {
	case f.code&4 != 0:
		e.Hint = "install it: sudo apt-get install uidmap (Debian, Ubuntu) or sudo dnf install shadow-utils (Fedora, RHEL)"
	case strings.Contains(text, "uid range") || strings.Contains(text, "gid range"):
		// newuidmap's own words: "uid range [0-1) -> [1000-1001) not allowed".
		e.Hint = "the lines for " + host.user + " in " + file + " do not allow it: see \"grep " + host.user + " " + file + "\""
	default:
		e.Hint = "see that " + helper + " is set-user-id root (sudo chmod u+s $(command -v " + helper + ")) and on no file system mounted with nosuid"
	}
	return e
}

// switchHint names the switch of the host that most likely said no.
func switchHint(f failure, host facts) string {
	errno := syscall.Errno(f.code)
	switch {
	case host.max == "0":
		return "user namespaces are switched off: sudo sysctl -w user.max_user_namespaces=28633 (and put it into /etc/sysctl.d/99-proa.conf)"
	case host.clone == "0":
		return "user namespaces are switched off: sudo sysctl -w kernel.unprivileged_userns_clone=1 (and put it into /etc/sysctl.d/99-proa.conf)"
	case host.apparmor == "1" && (errno == syscall.EPERM || errno == syscall.EACCES):
		return apparmorHint(host.exe)
	case errno == syscall.ENOSPC || errno == syscall.EUSERS:
		return "the limit of namespaces is reached: see sysctl user.max_user_namespaces, user.max_mnt_namespaces, user.max_pid_namespaces; namespaces nest at most 32 deep"
	case f.step == stepUnshareUser && errno == syscall.EINVAL:
		return "this kernel has no user namespaces (CONFIG_USER_NS)"
	case errno == syscall.EPERM || errno == syscall.EACCES:
		return "something here forbids namespaces: a chroot, RestrictNamespaces= in a systemd unit, or the seccomp profile of an outer container " +
			"(start that one with \"--security-opt seccomp=unconfined\", or allow unshare, setns and mount)"
	}
	return ""
}

func apparmorHint(exe string) string {
	return "AppArmor restricts user namespaces here. Allow them for this program: " +
		"printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile proa " + exe +
		"{,-monitor} flags=(unconfined) {\\n  userns,\\n}\\n' | sudo tee /etc/apparmor.d/proa && sudo apparmor_parser -r /etc/apparmor.d/proa" +
		" (or for all: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0)"
}
