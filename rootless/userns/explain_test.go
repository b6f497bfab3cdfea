// SPDX-License-Identifier: Apache-2.0

package userns

import (
	"strings"
	"syscall"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestExplain(t *testing.T) {
	open := facts{user: "alice", exe: "/usr/bin/proa"}
	with := func(change func(*facts)) facts { f := open; change(&f); return f }
	for _, tc := range []struct {
		name string
		f    failure
		host facts
		text string
		hint string
	}{
		{"switched off by the limit", failure{step: stepUnshareUser, code: int(syscall.ENOSPC)},
			with(func(f *facts) { f.zero = []string{"user.max_user_namespaces"} }), "cannot create a user namespace: user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=28633 "},
		{"no pid namespaces", failure{step: stepUnsharePID, code: int(syscall.ENOSPC)},
			with(func(f *facts) { f.zero = []string{"user.max_pid_namespaces"} }), "cannot create a pid namespace: user.max_pid_namespaces is 0", "sysctl -w user.max_pid_namespaces="},
		{"Debian's switch", failure{step: stepUnshareUser, code: int(syscall.EPERM)},
			with(func(f *facts) { f.clone = "0" }), "cannot create a user namespace", "kernel.unprivileged_userns_clone=1"},
		{"Ubuntu's AppArmor", failure{step: stepUnshareMount, code: int(syscall.EPERM)},
			with(func(f *facts) { f.apparmor = "1" }), "cannot create a mount namespace", "profile proa /usr/bin/proa"},
		{"the limit is reached", failure{step: stepUnshareUser, code: int(syscall.ENOSPC)}, open, "no space", "limit of namespaces"},
		{"no CONFIG_USER_NS", failure{step: stepUnshareUser, code: int(syscall.EINVAL)}, open, "", "CONFIG_USER_NS"},
		{"seccomp", failure{step: stepSetns, code: int(syscall.EPERM)}, open, "cannot join the user namespace", "seccomp=unconfined"},
		{"masked /proc", failure{step: stepProc, code: int(syscall.EPERM)}, open, "cannot mount /proc", "systempaths=unconfined"},
		{"no more processes", failure{step: stepFork, code: int(syscall.EAGAIN)}, open, "cannot fork", "ulimit -u"},
		{"newuidmap refuses", failure{step: stepHelper, code: 1, text: "newuidmap: uid range [1-9) -> [5-13) not allowed"}, open,
			"not allowed", "grep alice /etc/subuid"},
		{"newgidmap refuses", failure{step: stepHelper, code: 2, text: "newgidmap: gid range [1-9) -> [5-13) not allowed"}, open,
			"not allowed", "/etc/subgid"},
		{"newuidmap has no privilege", failure{step: stepHelper, code: 3, text: "newuidmap: write to uid_map failed: Operation not permitted"}, open,
			"write to uid_map failed", "chmod u+s"},
		{"newuidmap is gone", failure{step: stepHelper, code: 5}, open, "newuidmap failed", "apt-get install uidmap"},
		{"unknown step", failure{step: 99, code: int(syscall.EIO)}, open, "cannot enter the user namespace", ""},
	} {
		err := explain(tc.f, tc.host)
		if !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %q lacks %q", tc.name, err, tc.text)
		}
		if hint := errs.HintOf(err); !strings.Contains(hint, tc.hint) {
			t.Errorf("%s: hint %q lacks %q", tc.name, hint, tc.hint)
		}
		if !errs.Is(err, errs.Denied) {
			t.Errorf("%s: kind %v", tc.name, errs.KindOf(err))
		}
	}
}
