// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"slices"
	"strings"
	"testing"
)

var all = []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids"}

func TestDecide(t *testing.T) {
	for _, tc := range []struct {
		name   string
		f      Facts
		kind   Kind
		parent string
		memory bool   // --memory works
		cpu    bool   // --cpus works
		fix    string // part of the hint where one of them does not
	}{
		{"root, v1", Facts{Root: true, V1Controllers: []string{"cpu", "memory", "pids"}}, Direct, "/proa", true, true, ""},
		{"root, v1, memory switched off", Facts{Root: true, V1Controllers: []string{"cpu"}}, Direct, "/proa", false, true, ""},
		{"root, v2", Facts{Root: true, V2: true, Own: "/user.slice", OwnControllers: all}, Direct, "/proa", true, true, ""},
		{"user, v1", Facts{V1Controllers: all, UserBus: true}, None, "", false, false, "systemd.unified_cgroup_hierarchy=1"},
		{"user, v2, login session", Facts{V2: true, Own: "/user.slice/user-1000.slice/session-3.scope", UserBus: true, ManagerControllers: all},
			Systemd, "app.slice", true, true, ""},
		{"Debian's default delegation", Facts{V2: true, Own: "/x", UserBus: true, ManagerControllers: []string{"memory", "pids"}},
			Systemd, "app.slice", true, false, "Delegate=cpu cpuset io memory pids"},
		{"no manager", Facts{V2: true, Own: "/user.slice/user-1000.slice/session-3.scope"}, None, "", false, false, "loginctl enable-linger"},
		{"a unit with Delegate=yes", Facts{V2: true, Own: "/a/web.service", OwnWritable: true, OwnDelegated: true, OwnControllers: all, UserBus: true},
			Direct, "/a/web.service", true, true, ""},
		{"the same, once settled", Facts{V2: true, Own: "/a/web.service/supervisor", OwnWritable: true, OwnDelegated: true, OwnControllers: all},
			Direct, "/a/web.service", true, true, ""},
		{"a user's unit without Delegate", Facts{V2: true, Own: "/a/web.service", OwnWritable: true, UserBus: true, ManagerControllers: all},
			Systemd, "app.slice", true, true, ""},
		{"an outer container's cgroup", Facts{V2: true, Own: "/", OwnWritable: true, OwnControllers: []string{"memory"}},
			Direct, "/", true, false, "Delegate="},
		{"delegated but read-only", Facts{V2: true, Own: "/a", OwnDelegated: true}, None, "", false, false, "Delegate=yes"},
	} {
		p := Decide(tc.f)
		if p.Kind != tc.kind || p.Parent != tc.parent {
			t.Errorf("%s: %v in %q, want %v in %q", tc.name, p.Kind, p.Parent, tc.kind, tc.parent)
		}
		for _, c := range []struct {
			controller string
			works      bool
		}{{"memory", tc.memory}, {"cpu", tc.cpu}} {
			works := p.Kind != None && slices.Contains(p.Controllers, c.controller)
			if works != c.works {
				t.Errorf("%s: %s: %v", tc.name, c.controller, works)
			}
			if !works && !strings.Contains(p.Fix, tc.fix) {
				t.Errorf("%s: %s: fix %q", tc.name, c.controller, p.Fix)
			}
		}
	}
}

func TestOwnPath(t *testing.T) {
	for text, want := range map[string]string{
		"0::/user.slice/user-1000.slice/session-1.scope\n": "/user.slice/user-1000.slice/session-1.scope",
		"9:name=systemd:/a\n8:pids:/b\n0::/c\n":            "/c",
		"9:name=systemd:/a\n":                              "",
		"0::/../../x\n":                                    "/x", // a cgroup outside of our cgroup namespace
		"0::\n":                                            "",
	} {
		if got := ownPath([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestParseV1(t *testing.T) {
	got := parseV1(strings.Join([]string{
		"31 24 0:27 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755",
		"35 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct",
		"36 31 0:32 / /sys/fs/cgroup/memory ro,nosuid shared:16 - cgroup cgroup rw,memory",
		"37 31 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids",
		"38 31 0:34 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd",
		"39 31 0:35 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
		"short - cgroup",
	}, "\n"))
	if strings.Join(got, " ") != "cpu cpuacct pids" {
		t.Errorf("got %v", got)
	}
}
