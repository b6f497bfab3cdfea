// SPDX-License-Identifier: Apache-2.0

package ocispec

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const testID = "0123456789ab0123456789ab0123456789ab0123456789ab0123456789abcdef"

// testHost is an unprivileged user with 65536 subordinate ids on cgroup v2.
func testHost() Host {
	ids := []spec.IDMap{{Inside: 0, Outside: 1000, Count: 1}, {Inside: 1, Outside: 100000, Count: 65536}}
	return Host{
		Rootless: true, UIDs: ids, GIDs: ids, UID: 1000, GID: 1000,
		Cgroup: "/user.slice/user-1000.slice/user@1000.service/proa.slice", Controllers: []string{"cpu", "memory", "pids"},
		Arch: "amd64", Kernel: [2]int{6, 1}, LastCap: 40, CPUs: 4, Hostname: "box", Seccomp: true, CgroupV2: true, Mqueue: true,
		MoreIDs:    func() string { return "get more" },
		HardLimits: map[string]uint64{"nofile": 1048576}, InitPath: "/usr/bin/catatonit",
		Devices: []HostDevice{
			{Path: "/dev/fuse", Type: 'c', Major: 10, Minor: 229, Mode: 0o666, Usable: true},
			{Path: "/dev/sda", Type: 'b', Major: 8, Minor: 0, Mode: 0o660},
			{Path: "/dev/snd/timer", Type: 'c', Major: 116, Minor: 33, Mode: 0o660, Usable: true},
		},
	}
}

func testInput() Input {
	return Input{
		ID:   testID,
		Host: testHost(),
		Image: spec.ImageConfig{
			Env: []string{"PATH=/bin", "LANG=C"}, Cmd: []string{"sh"}, WorkingDir: "/srv", StopSignal: "SIGQUIT", User: "www",
		},
		Files: Files{Hostname: "/run/h/hostname", Hosts: "/run/h/hosts", ResolvConf: "/run/h/resolv.conf"},
	}
}

var goldenCases = map[string]func(*Input){
	"default": func(*Input) {},
	"root": func(in *Input) {
		in.Host.Rootless, in.Host.UIDs, in.Host.GIDs = false, nil, nil
		in.Spec.Security.Devices = []spec.Device{{Host: "/dev/sda", Container: "/dev/xvda", Permissions: "r"}}
	},
	"privileged":   func(in *Input) { in.Spec.Security.Privileged = true },
	"hostmodes":    hostModes,
	"singleid":     func(in *Input) { in.Host.UIDs, in.Host.GIDs = in.Host.UIDs[:1], in.Host.GIDs[:1] },
	"cgroupv1":     func(in *Input) { in.Host.CgroupV2, in.Host.Cgroup, in.Host.Controllers = false, "", nil },
	"keepid":       func(in *Input) { in.Spec.Security.Userns = "keep-id" },
	"nomap":        func(in *Input) { in.Spec.Security.Userns = "nomap" },
	"userdev":      func(in *Input) { in.Mounts = []spec.Mount{{Type: spec.MountBind, Source: "/dev", Target: "/dev"}} },
	"mounts":       manyMounts,
	"everything":   everything,
	"networknone":  func(in *Input) { in.Spec.Network.Mode = spec.NetNone },
	"systemdscope": func(in *Input) { in.Host.CgroupSystemd, in.Host.Cgroup = true, "user.slice" },
}

func hostModes(in *Input) {
	s := &in.Spec.Security
	s.PidMode, s.IpcMode, s.UtsMode, s.CgroupnsMode, s.Userns = "host", "host", "host", "host", "host"
	in.Spec.Network.Mode = spec.NetHost
}

func manyMounts(in *Input) {
	in.Mounts = []spec.Mount{
		{Type: spec.MountBind, Source: "/home/u/src", Target: "/a/b/c/", ReadOnly: true},
		{Type: spec.MountVolume, Source: "/data/vol", Target: "/a", Options: []string{"noexec"}},
		{Type: spec.MountTmpfs, Target: "/a/b", TmpfsSize: 1 << 20, TmpfsMode: 0o1777, Options: []string{"exec", "uid=5"}},
		{Type: spec.MountBind, Source: "/etc/hosts", Target: "/etc/hosts", NonRecursive: true, Propagation: "rslave"},
		{Type: spec.MountTmpfs, Target: "/dev/shm", TmpfsSize: 1 << 30},
	}
}

func everything(in *Input) {
	adj := 500
	in.Spec.Process = spec.Process{
		Entrypoint: &[]string{"/entry"}, Args: []string{"a", "b"}, Env: []string{"LANG=en", "X=1"}, UnsetEnv: []string{"PATH"},
		Dir: "/data/../w", User: "7:8", GroupAdd: []string{"audio"}, Hostname: "web", Domainname: "example.org", TTY: true, OpenStdin: true, Init: true,
	}
	in.Spec.Lifecycle.StopSignal = "rtmin+3"
	in.Spec.Resources = spec.Resources{
		Memory: 64 << 20, NanoCPUs: 1500_000_000, CPUShares: 512, PidsLimit: 100, ShmSize: 1 << 20, OOMScoreAdj: &adj,
		Ulimits: []spec.Ulimit{{Name: "nofile", Soft: 1024, Hard: 4096}, {Name: "core", Soft: -1, Hard: -1}},
	}
	in.Spec.Security = spec.Security{
		ReadOnly: true, NoNewPrivs: true, CapAdd: []string{"NET_ADMIN"}, CapDrop: []string{"MKNOD"}, Seccomp: Unconfined,
		Mask: []string{"/proc/version"}, Unmask: []string{"/proc/kcore", "/proc/sys"},
		Devices: []spec.Device{{Host: "/dev/fuse", Container: "/dev/fuse", Permissions: "rwm"}, {Host: "/dev/snd", Container: "/dev/sound", Permissions: "rw"}},
		Sysctls: map[string]string{"net.ipv4.ip_unprivileged_port_start": "80", "kernel.shmmax": "1024"},
	}
}

func TestGolden(t *testing.T) {
	for name, change := range goldenCases {
		t.Run(name, func(t *testing.T) {
			in := testInput()
			change(&in)
			out, err := Build(&in)
			if err != nil {
				t.Fatal(err)
			}
			if name != "default" && out.Config.Seccomp != nil {
				// Four hundred lines, which "default" pins.
				out.Config.Seccomp.Syscalls = nil
			}
			got, err := json.MarshalIndent(out, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, name, append(got, '\n'))
		})
	}
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run go test ./pkg/ocispec -update)", err)
	}
	if string(want) != string(got) {
		t.Errorf("%s differs from %s: run go test ./pkg/ocispec -update and read the diff", name, file)
	}
}

func TestInputUnchanged(t *testing.T) {
	in := testInput()
	everything(&in)
	before, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Build(&in); err != nil {
			t.Fatal(err)
		}
	}
	if after, _ := json.Marshal(in); string(before) != string(after) {
		t.Error("Build changed its input")
	}
}

func TestArgs(t *testing.T) {
	list := func(s ...string) *[]string { return &s }
	for _, c := range []struct {
		name       string
		entry, cmd []string // the image's
		over       *[]string
		args       []string
		want       string
		kind       errs.Kind
	}{
		{name: "cmd", cmd: []string{"sh"}, want: "sh"},
		{name: "both", entry: []string{"/e"}, cmd: []string{"c"}, want: "/e c"},
		{name: "args replace cmd", entry: []string{"/e"}, cmd: []string{"c"}, args: []string{"x"}, want: "/e x"},
		{name: "entrypoint clears cmd", entry: []string{"/e"}, cmd: []string{"c"}, over: list("/o"), want: "/o"},
		{name: "entrypoint and args", cmd: []string{"c"}, over: list("/o", "p"), args: []string{"x"}, want: "/o p x"},
		{name: "no entrypoint", entry: []string{"/e"}, cmd: []string{"c"}, over: list(), args: []string{"x"}, want: "x"},
		{name: "empty entrypoint", entry: []string{"/e"}, over: list(""), args: []string{"x"}, want: "x"},
		{name: "empty word of the image", entry: []string{""}, cmd: []string{"c"}, want: "c"},
		{name: "nothing", kind: errs.Invalid},
		{name: "cleared", cmd: []string{"c"}, over: list(""), kind: errs.Invalid},
		{name: "empty word", args: []string{""}, kind: errs.CommandMissing},
	} {
		got, err := Args(&spec.Process{Entrypoint: c.over, Args: c.args}, &spec.ImageConfig{Entrypoint: c.entry, Cmd: c.cmd})
		if strings.Join(got, " ") != c.want || err != nil && errs.KindOf(err) != c.kind || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
}

func TestEnv(t *testing.T) {
	for _, c := range []struct {
		image, user, unset []string
		tty                bool
		want               string
	}{
		{want: "PATH=" + DefaultPath + " HOSTNAME=h"},
		{tty: true, want: "PATH=" + DefaultPath + " HOSTNAME=h TERM=xterm"},
		{image: []string{"PATH=/x", "A=1"}, user: []string{"A=2", "B=3"}, want: "PATH=/x HOSTNAME=h A=2 B=3"},
		{user: []string{"TERM=dumb", "HOSTNAME=me"}, tty: true, want: "PATH=" + DefaultPath + " HOSTNAME=me TERM=dumb"},
		{image: []string{"AB=1"}, user: []string{"A=2", "A=3"}, want: "PATH=" + DefaultPath + " HOSTNAME=h AB=1 A=3"},
		{image: []string{"A=1"}, user: []string{"A"}, want: "PATH=" + DefaultPath + " HOSTNAME=h"},
		{image: []string{"A=1"}, unset: []string{"A", "PATH"}, want: "HOSTNAME=h"},
		{user: []string{"A=", "B=x=y"}, want: "PATH=" + DefaultPath + " HOSTNAME=h A= B=x=y"},
	} {
		got := Env(&spec.Process{Env: c.user, UnsetEnv: c.unset, TTY: c.tty}, &spec.ImageConfig{Env: c.image}, "h")
		if strings.Join(got, " ") != strings.Replace(c.want, "HOSTNAME=", Marker+" HOSTNAME=", 1) {
			t.Errorf("image %q user %q: got %q, want %q", c.image, c.user, got, c.want)
		}
	}
}

func TestCapabilities(t *testing.T) {
	without := func(drop ...string) (out []string) {
		for _, c := range defaultCaps {
			if !slices.Contains(drop, c) {
				out = append(out, c)
			}
		}
		return out
	}
	for _, c := range []struct {
		add, drop []string
		priv      bool
		want      []string
		bad       string
	}{
		{want: defaultCaps},
		{drop: []string{"mknod", "Cap_Chown"}, want: without("CAP_MKNOD", "CAP_CHOWN")},
		{add: []string{"NET_ADMIN", "CHOWN"}, want: append(without(), "CAP_NET_ADMIN")},
		{drop: []string{"all"}, want: nil},
		{drop: []string{"ALL"}, add: []string{"cap_kill"}, want: []string{"CAP_KILL"}},
		{add: []string{"ALL"}, drop: allCaps[1:], want: allCaps[:1]},
		{add: []string{"ALL"}, want: allCaps},
		{priv: true, drop: []string{"CHOWN"}, want: allCaps},
		{add: []string{"FOO"}, bad: `invalid CapAdd: unknown capability: "CAP_FOO"`},
		{drop: []string{"CAP_"}, bad: `invalid CapDrop: unknown capability: "CAP_"`},
	} {
		got, err := Capabilities(&spec.Security{CapAdd: c.add, CapDrop: c.drop, Privileged: c.priv}, defaultCaps, 40)
		if c.bad != "" {
			if err == nil || err.Error() != c.bad || !strings.Contains(errs.HintOf(err), "NET_ADMIN") {
				t.Errorf("+%v -%v: got %v, hint %q", c.add, c.drop, err, errs.HintOf(err))
			}
			continue
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("+%v -%v: got %v, %v", c.add, c.drop, got, err)
		}
	}
	if got, _ := Capabilities(&spec.Security{CapAdd: []string{"ALL"}}, defaultCaps, 37); slices.Contains(got, "CAP_BPF") {
		t.Error("ALL contains a capability that the kernel does not know")
	}
	if _, err := Capabilities(&spec.Security{CapAdd: []string{"BPF"}}, defaultCaps, 37); !errs.Is(err, errs.Unsupported) {
		t.Errorf("capability unknown to the kernel: %v", err)
	}
}

// A stack that opens a connection for each frame gets no forged ones, unless
// the user says so.
func TestRawFramesByNetwork(t *testing.T) {
	for _, x := range []struct {
		own, joined spec.NetworkMode
		change      func(*spec.Security)
		want        bool
	}{
		{own: "", want: true},
		{own: spec.NetBridge, want: true},
		{own: spec.NetNone, want: true},
		{own: spec.NetNetstack, want: true},
		{own: spec.NetSlirp4netns},
		{own: spec.NetPasta},
		{own: spec.NetContainer, joined: spec.NetBridge, want: true},
		{own: spec.NetContainer, joined: spec.NetPasta},
		{own: spec.NetContainer, joined: spec.NetSlirp4netns},
		{own: spec.NetContainer, joined: spec.NetContainer}, // of an older monitor that did not say
		{own: spec.NetContainer},
		{own: spec.NetPasta, change: func(s *spec.Security) { s.CapAdd = []string{"NET_RAW"} }, want: true},
		{own: spec.NetPasta, change: func(s *spec.Security) { s.CapAdd = []string{"ALL"} }, want: true},
		{own: spec.NetPasta, change: func(s *spec.Security) { s.CapAdd = []string{"NET_ADMIN"} }},
		{own: spec.NetPasta, change: func(s *spec.Security) { s.Privileged = true }, want: true},
	} {
		in := testInput()
		in.Spec.Network.Mode, in.Join.Network = x.own, x.joined
		if x.change != nil {
			x.change(&in.Spec.Security)
		}
		out, err := Build(&in)
		if err != nil {
			t.Fatal(err)
		}
		c := out.Config.Capabilities
		for _, set := range [][]string{c.Bounding, c.Effective, c.Permitted} {
			if got := slices.Contains(set, "CAP_NET_RAW"); got != x.want {
				t.Errorf("network %q, joined %q: CAP_NET_RAW is there: %v, want %v", x.own, x.joined, got, x.want)
			}
		}
	}
}

func seccompNames(c *configs.Seccomp) map[string]*configs.Syscall {
	m := make(map[string]*configs.Syscall)
	for _, s := range c.Syscalls {
		m[s.Name] = s
	}
	return m
}

func TestSeccompDefault(t *testing.T) {
	in := testInput()
	out, err := Build(&in)
	if err != nil {
		t.Fatal(err)
	}
	got := seccompNames(out.Config.Seccomp)
	if got["read"] == nil || got["mount"] != nil || got["arch_prctl"] == nil {
		t.Error("amd64 without CAP_SYS_ADMIN: wrong rules")
	}
	if a := out.Config.Seccomp.Architectures; !slices.Equal(a, []string{"amd64", "x86", "x32"}) {
		t.Errorf("architectures %v", a)
	}
	if got["clone3"] == nil || *got["clone3"].ErrnoRet != 38 {
		t.Error("clone3 must fail with ENOSYS, so that the C library falls back to clone")
	}
	if c := got["socketcall"]; c == nil || c.Action != configs.Errno || *c.ErrnoRet != 38 {
		t.Errorf("socketcall without a 32-bit image: %+v", c)
	}
	in.Image.Architecture = "386"
	if out, err = Build(&in); err != nil {
		t.Fatal(err)
	}
	if c := seccompNames(out.Config.Seccomp)["socketcall"]; c == nil || c.Action != configs.Allow {
		t.Errorf("socketcall in a 32-bit image: %+v", c)
	}
	in.Image.Architecture = ""
	in.Spec.Security.CapAdd = []string{"SYS_ADMIN"}
	in.Host.Arch = "arm64"
	if out, err = Build(&in); err != nil {
		t.Fatal(err)
	}
	got = seccompNames(out.Config.Seccomp)
	if got["mount"] == nil || got["arch_prctl"] != nil {
		t.Error("arm64 with CAP_SYS_ADMIN: wrong rules")
	}
	in.Host.Kernel = [2]int{4, 4}
	if out, err = Build(&in); err != nil {
		t.Fatal(err)
	}
	if out.Config.Seccomp.Flags != nil {
		t.Error("SPEC_ALLOW on a kernel without it")
	}
	in.Host.Seccomp = false
	if out, err = Build(&in); err != nil || out.Config.Seccomp != nil || len(out.Warnings) != 1 {
		t.Errorf("kernel without seccomp: %v, %v", out.Warnings, err)
	}
}

func TestPidsLimit(t *testing.T) {
	for _, x := range []struct {
		given       int64
		controllers []string
		want        int64 // 0: none is set
	}{
		{0, []string{"memory", "pids"}, 2048},
		{7, []string{"memory", "pids"}, 7},
		{-1, []string{"memory", "pids"}, -1},
		{0, []string{"memory"}, 0},
	} {
		in := testInput()
		in.Spec.Resources.PidsLimit, in.Host.Controllers = x.given, x.controllers
		out, err := Build(&in)
		if err != nil {
			t.Fatal(err)
		}
		got := int64(0)
		if p := out.Config.Cgroups.Resources.PidsLimit; p != nil {
			got = *p
		}
		if got != x.want {
			t.Errorf("--pids-limit %d with %v: %d, want %d", x.given, x.controllers, got, x.want)
		}
	}
	in := testInput()
	in.Host.Cgroup, in.Host.Controllers = "", nil
	if out, err := Build(&in); err != nil || out.Config.Cgroups.Resources.PidsLimit != nil {
		t.Errorf("a host without cgroups: %v", err)
	}
}

// TestNoLimits: -1 asks for what a host without the controller gives anyway.
func TestNoLimits(t *testing.T) {
	for _, controllers := range [][]string{nil, {"io"}, {"cpu", "memory", "pids"}} {
		in := testInput()
		in.Spec.Resources = spec.Resources{PidsLimit: -1, CPUQuota: -1, MemorySwap: -1}
		in.Host.Controllers = controllers
		if controllers == nil {
			in.Host.Cgroup = ""
		}
		out, err := Build(&in)
		if err != nil {
			t.Fatal(err)
		}
		r := out.Config.Cgroups.Resources
		if set := len(controllers) == 3; (r.PidsLimit != nil) != set || (r.CpuQuota == -1) != set || (r.MemorySwap == -1) != set {
			t.Errorf("with %v: pids %v, quota %d, swap %d", controllers, r.PidsLimit, r.CpuQuota, r.MemorySwap)
		}
	}
}

// TestOOMScore: what only root may ask for becomes what the user may have.
func TestOOMScore(t *testing.T) {
	for _, x := range []struct {
		rootless        bool
		own, asked, got int
	}{{true, 0, -500, 0}, {true, 200, 100, 200}, {true, 200, 300, 300}, {false, 0, -500, -500}} {
		in := testInput()
		in.Host.OOMScoreAdj, in.Spec.Resources.OOMScoreAdj = x.own, &x.asked
		if !x.rootless {
			in.Host.Rootless, in.Host.UIDs, in.Host.GIDs = false, nil, nil
		}
		out, err := Build(&in)
		if err != nil || *out.Config.OomScoreAdj != x.got || (len(out.Warnings) > 0) != (x.got != x.asked) {
			t.Errorf("%+v: %v, warnings %v", x, err, out.Warnings)
		}
	}
}

func TestSeccompUser(t *testing.T) {
	build := func(profile string) (*configs.Seccomp, error) {
		in := testInput()
		in.Spec.Security.Seccomp = profile
		out, err := Build(&in)
		if err != nil {
			return nil, err
		}
		return out.Config.Seccomp, nil
	}
	if c, err := build(Unconfined); c != nil || err != nil {
		t.Errorf("unconfined: %v, %v", c, err)
	}
	c, err := build(`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[
		{"name":"chmod","action":"SCMP_ACT_ERRNO","errnoRet":1},
		{"names":["personality"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":8,"valueTwo":0,"op":"SCMP_CMP_EQ"}]},
		{"names":["read"],"action":"SCMP_ACT_ALLOW"},
		{"names":["new"],"action":"SCMP_ACT_ERRNO","includes":{"minKernel":"9.0"}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	got := seccompNames(c)
	if len(got) != 2 || got["chmod"].Action != configs.Errno || got["personality"].Args[0].Op != configs.EqualTo {
		t.Errorf("got %v", got)
	}
	for _, bad := range []string{
		`{`, `{"defaultAction":"X"}`, `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["Z"]}`,
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"B"}]}`,
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_NOTIFY"}]}`,
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"b","names":["a"],"action":"SCMP_ACT_ERRNO"}]}`,
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_ERRNO","args":[{"index":9,"op":"SCMP_CMP_EQ"}]}]}`,
		`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86"}]}`,
	} {
		if _, err := build(bad); !errs.Is(err, errs.Invalid) || errs.HintOf(err) == "" {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestRefused lists what Build must refuse, each with a hint.
func TestRefused(t *testing.T) {
	score := func(n int) *int { return &n }
	for name, c := range map[string]struct {
		change func(*Input)
		want   string
	}{
		"ulimit": {func(in *Input) {
			in.Spec.Resources.Ulimits = []spec.Ulimit{{Name: "nofile", Soft: 1, Hard: 1 << 30}}
		}, "--ulimit nofile: your hard limit is 1048576, and only root can raise it"},
		"tmpfs owner": {func(in *Input) {
			in.Mounts = append(in.Mounts, spec.Mount{Type: spec.MountTmpfs, Target: "/t", Options: []string{"uid=5", "gid=500000"}})
		}, "the tmpfs on /t cannot belong to gid 500000: the user namespace has no such id"},
		"ulimit name":     {func(in *Input) { in.Spec.Resources.Ulimits = []spec.Ulimit{{Name: "x"}} }, "invalid ulimit type: x"},
		"net sysctl":      {func(in *Input) { hostModes(in); sysctl(in, "net.core.somaxconn") }, `sysctl "net.core.somaxconn" not allowed in host network namespace`},
		"ipc sysctl":      {func(in *Input) { hostModes(in); sysctl(in, "kernel.sem") }, `sysctl "kernel.sem" is not allowed in the hosts ipc namespace`},
		"kernel sysctl":   {func(in *Input) { sysctl(in, "kernel.panic") }, `sysctl "kernel.panic" is not in a separate kernel namespace`},
		"device":          {func(in *Input) { device(in, "/dev/none", "rwm") }, `error gathering device information while adding custom device "/dev/none": no such file or directory`},
		"device denied":   {func(in *Input) { device(in, "/dev/sda", "rwm") }, "--device /dev/sda: you may not open it"},
		"device access":   {func(in *Input) { device(in, "/dev/fuse", "r") }, `--device /dev/fuse: access "r" cannot be enforced without root: the devices controller is not delegated to users`},
		"oom range":       {func(in *Input) { in.Spec.Resources.OOMScoreAdj = score(2000) }, "Invalid value 2000, range for oom score adj is [-1000, 1000]"},
		"memory":          {func(in *Input) { in.Spec.Resources.Memory = 1 << 20 }, "Minimum memory limit allowed is 6MB"},
		"swap":            {func(in *Input) { in.Spec.Resources.MemorySwap = 1 << 30 }, "You should always set the Memory limit when using Memoryswap limit, see usage"},
		"cpus":            {func(in *Input) { in.Spec.Resources.NanoCPUs = 5e9 }, "Range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"},
		"cpuset":          {func(in *Input) { in.Spec.Resources.CpusetCPUs = "0" }, `--cpuset-cpus: the cgroup controller "cpuset" is not delegated to you`},
		"no cgroup":       {func(in *Input) { in.Host.Cgroup = ""; in.Spec.Resources.PidsLimit = 5 }, "--pids-limit: this host gives an unprivileged user no cgroup to put limits on"},
		"uts":             {func(in *Input) { in.Spec.Security.UtsMode = "host"; in.Spec.Process.Hostname = "x" }, "conflicting options: hostname and the UTS mode"},
		"pid container":   {func(in *Input) { in.Spec.Security.PidMode = "container:x" }, "--pid=container:x: that container's namespace cannot be entered"},
		"ipc mode":        {func(in *Input) { in.Spec.Security.IpcMode = "y" }, `invalid ipc namespace mode "y"`},
		"cgroupns":        {func(in *Input) { in.Spec.Security.CgroupnsMode = "y" }, `invalid cgroup namespace mode "y"`},
		"userns":          {func(in *Input) { in.Spec.Security.Userns = "y" }, `invalid user namespace mode "y"`},
		"auto":            {func(in *Input) { in.Spec.Security.Userns = "auto" }, "--userns=auto: no 1024 ids are free"},
		"keep-id":         {func(in *Input) { in.Spec.Security.Userns = "keep-id:uid=x" }, `invalid option "uid=x" in --userns=keep-id:uid=x`},
		"nomap single id": {func(in *Input) { in.Host.UIDs = in.Host.UIDs[:1]; in.Spec.Security.Userns = "nomap" }, "--userns=nomap needs subordinate ids"},
		"workdir":         {func(in *Input) { in.Spec.Process.Dir = "x" }, "the working directory 'x' is invalid, it needs to be an absolute path"},
		"signal":          {func(in *Input) { in.Spec.Lifecycle.StopSignal = "FOO" }, "invalid signal: FOO"},
		"init":            {func(in *Input) { in.Spec.Process.Init = true; in.Host.InitPath = "" }, "no init program for --init found on this host"},
		"apparmor":        {func(in *Input) { in.Spec.Security.AppArmor = "p" }, `apparmor profile "p": AppArmor is not enabled on this host`},
		"mount root":      {func(in *Input) { mount(in, spec.Mount{Source: "/x", Target: "/"}) }, "invalid specification: destination can't be '/'"},
		"mount relative":  {func(in *Input) { mount(in, spec.Mount{Source: "/x", Target: "y"}) }, "invalid mount path: 'y' mount path must be absolute"},
		"mount proc":      {func(in *Input) { mount(in, spec.Mount{Source: "/x", Target: "/proc/sys"}) }, `cannot mount on "/proc/sys": it is inside /proc`},
		"mount shared":    {func(in *Input) { mount(in, spec.Mount{Source: "/x", Target: "/y", Propagation: "rshared"}) }, `mount /y: propagation "rshared" needs a mount namespace shared with the host`},
		"mount option":    {func(in *Input) { mount(in, spec.Mount{Source: "/x", Target: "/y", Options: []string{"size=1"}}) }, `invalid mount option "size=1" for /y`},
	} {
		in := testInput()
		c.change(&in)
		_, err := Build(&in)
		if err == nil || err.Error() != c.want || errs.HintOf(err) == "" || errs.KindOf(err) == errs.Internal {
			t.Errorf("%s: got %v (hint %q)\nwant %s", name, err, errs.HintOf(err), c.want)
		}
	}
}

func sysctl(in *Input, k string) { in.Spec.Security.Sysctls = map[string]string{k: "1"} }
func device(in *Input, p, perms string) {
	in.Spec.Security.Devices = []spec.Device{{Host: p, Container: p, Permissions: perms}}
}
func mount(in *Input, m spec.Mount) {
	m.Type = spec.MountBind
	in.Mounts = append(in.Mounts, m)
}

func TestKeepIDMap(t *testing.T) {
	for _, c := range []struct{ id, n int64 }{{1000, 65537}, {0, 65537}, {65536, 65537}, {70000, 65537}, {5, 1}, {0, 1}, {1, 2}} {
		seenIn, seenOut := map[int64]bool{}, map[int64]bool{}
		var total int64
		for _, m := range keepIDMap(c.id, c.n) {
			if m.Size <= 0 {
				t.Errorf("%v: empty range %v", c, m)
			}
			for i := range m.Size {
				if seenIn[m.ContainerID+i] || seenOut[m.HostID+i] || m.HostID+i >= c.n {
					t.Fatalf("%v: %v overlaps or leaves the namespace", c, m)
				}
				seenIn[m.ContainerID+i], seenOut[m.HostID+i] = true, true
				if m.ContainerID+i == c.id && m.HostID+i != 0 {
					t.Errorf("%v: the user is not himself", c)
				}
			}
			total += m.Size
		}
		if total != c.n || !seenIn[c.id] {
			t.Errorf("%v: %d of %d ids mapped", c, total, c.n)
		}
	}
}

func TestSize(t *testing.T) {
	in := testInput()
	out, err := Build(&in)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := json.Marshal(out.Config)
	sec, _ := json.Marshal(out.Config.Seccomp)
	t.Logf("configuration %d bytes, of which seccomp %d", len(all), len(sec))
	if len(all) > 40_000 {
		t.Errorf("the configuration has %d bytes; it is encoded three times in each run", len(all))
	}
}

func TestProbe(t *testing.T) {
	h := ProbeHost(Probe{Devices: []string{"/dev/null"}})
	if len(h.Devices) != 1 || h.Devices[0].Major != 1 || h.Devices[0].Minor != 3 || !h.Devices[0].Usable {
		t.Errorf("/dev/null: %v", h.Devices)
	}
	if h.Kernel[0] < 3 || h.LastCap < 30 || h.HardLimits["nofile"] == 0 {
		t.Errorf("%+v", h)
	}
	if v := kernelVersion("5.10-rc1+"); v != [2]int{5, 10} {
		t.Error(v)
	}
}

func BenchmarkBuild(b *testing.B) {
	in := testInput()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(&in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuildAndMarshal(b *testing.B) {
	in := testInput()
	for b.Loop() {
		out, err := Build(&in)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := json.Marshal(out.Config); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProbe(b *testing.B) {
	for b.Loop() {
		ProbeHost(Probe{})
	}
}
