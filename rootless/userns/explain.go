// SPDX-License-Identifier: Apache-2.0

package userns

/*
#include "enter.h"
*/
import "C"

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/subid"
)

// The steps of enter.c by Go names.
const (
	stepFork         = C.PROA_STEP_FORK
	stepUnshareUser  = C.PROA_STEP_UNSHARE_USER
	stepHelper       = C.PROA_STEP_HELPER
	stepSetns        = C.PROA_STEP_SETNS
	stepUnshareMount = C.PROA_STEP_UNSHARE_MOUNT
	stepUnsharePID   = C.PROA_STEP_UNSHARE_PID
	stepProc         = C.PROA_STEP_PROC
)

// failure is what enter.c reports.
type failure struct {
	step, code int
	text       string // of newuidmap and newgidmap
}

// facts are the host's switches that forbid user namespaces; "" where a switch
// does not exist.
type facts struct {
	clone    string   // kernel.unprivileged_userns_clone (Debian's patch)
	apparmor string   // kernel.apparmor_restrict_unprivileged_userns (Ubuntu)
	zero     []string // sysctls user.max_*_namespaces that are 0
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
		zero:     zeroLimits(),
		exe:      exe,
		user:     subid.LoginName(os.Getuid()),
	}
}

// limitNames are the kinds of namespaces that the kernel counts.
var limitNames = []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}

// envZero tells a process in the user's namespace what its starter has seen: there
// the limits of the namespaces around cannot be read.
const envZero = "_PROA_ZERO_LIMITS"

// zeroLimits are the sysctls by which kinds of namespaces are switched off.
func zeroLimits() (zero []string) {
	if told := os.Getenv(envZero); told != "" {
		return strings.Fields(told)
	}
	for _, kind := range limitNames {
		name := "user.max_" + kind + "_namespaces"
		b, err := os.ReadFile("/proc/sys/" + strings.Replace(name, ".", "/", 1))
		if err == nil && strings.TrimSpace(string(b)) == "0" {
			zero = append(zero, name)
		}
	}
	return zero
}

func limitHint(zero []string) string {
	settings := make([]string, len(zero))
	for i, name := range zero {
		settings[i] = name + "=28633"
	}
	return "namespaces are switched off here: sudo sysctl -w " + strings.Join(settings, " ") + " (and put it into /etc/sysctl.d/99-proa.conf)"
}

// ExplainLimits adds the kinds of namespaces that are switched off to an unexplained
// failure of a start. They cannot be seen from inside of the
// user's namespace, where the runtime makes its own.
func ExplainLimits(err error) error {
	switch errs.KindOf(err) {
	case errs.CannotInvoke, errs.CommandMissing, errs.Canceled, errs.Invalid:
		return err
	}
	if errs.HintOf(err) != "" {
		return err
	}
	if zero := zeroLimits(); len(zero) > 0 {
		return &errs.Error{Kind: errs.Denied, Err: fmt.Errorf("%s is 0: %w", strings.Join(zero, ", "), err), Hint: limitHint(zero)}
	}
	return err
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
	case stepFork:
		e.Hint = "the limit of processes is reached: see \"ulimit -u\" and the pids limit of your session (systemctl show -p TasksMax user-$(id -u).slice)"
		return e
	}
	if len(host.zero) > 0 && (e.Err == syscall.ENOSPC || e.Err == syscall.EUSERS) {
		// "No space left on device" sends people to their disks.
		e.Err = errs.New(errs.Denied, "%s is 0", strings.Join(host.zero, ", "))
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
	case len(host.zero) > 0:
		return limitHint(host.zero)
	case host.clone == "0":
		return "user namespaces are switched off: sudo sysctl -w kernel.unprivileged_userns_clone=1 (and put it into /etc/sysctl.d/99-proa.conf)"
	case host.apparmor == "1" && (errno == syscall.EPERM || errno == syscall.EACCES):
		return apparmorHint(host.exe)
	case errno == syscall.ENOSPC || errno == syscall.EUSERS:
		return "the limit of namespaces is reached: see sysctl user.max_user_namespaces, user.max_mnt_namespaces, user.max_pid_namespaces of this and of each outer namespace; namespaces nest at most 32 deep"
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
