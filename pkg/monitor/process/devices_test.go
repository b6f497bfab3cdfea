// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"testing"

	devices "github.com/opencontainers/cgroups/devices/config"
	"golang.org/x/sys/unix"
)

// allows runs the program as the kernel would.
func allows(t *testing.T, p []insn, kind, access, major, minor int32) bool {
	t.Helper()
	var r [6]int64
	ctx := map[int16]int64{0: int64(access)<<16 | int64(kind), 4: int64(major), 8: int64(minor)}
	for pc := 0; ; pc++ {
		i := p[pc]
		switch i.op {
		case bpfLoad32:
			r[i.dst] = ctx[i.off]
		case bpfMov:
			r[i.dst] = r[i.src]
		case bpfMovImm:
			r[i.dst] = int64(i.imm)
		case bpfAndImm:
			r[i.dst] &= int64(i.imm)
		case bpfShrImm:
			r[i.dst] >>= i.imm
		case bpfJneImm:
			if r[i.dst] != int64(i.imm) {
				pc += int(i.off)
			}
		case bpfJneReg:
			if r[i.dst] != r[i.src] {
				pc += int(i.off)
			}
		case bpfExit:
			return r[0] == 1
		default:
			t.Fatalf("unknown instruction %#x", i.op)
		}
	}
}

var deviceRules = []*devices.Rule{
	{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm"},
	{Type: devices.CharDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "m", Allow: true},
	{Type: devices.BlockDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "m", Allow: true},
	{Type: devices.CharDevice, Major: 136, Minor: devices.Wildcard, Permissions: "rwm", Allow: true},
	{Type: devices.CharDevice, Major: 1, Minor: 3, Permissions: "rwm", Allow: true},
	{Type: devices.BlockDevice, Major: 7, Minor: 1, Permissions: "r", Allow: true},
}

func TestDeviceProgram(t *testing.T) {
	allowed, all, err := allowList(deviceRules)
	if err != nil || all {
		t.Fatal(all, err)
	}
	p := deviceProgram(allowed)
	const m, r, w = 1, 2, 4
	for _, tc := range []struct {
		kind, access, major, minor int32
		want                       bool
	}{
		{bpfChar, r | w, 1, 3, true},
		{bpfChar, m | r | w, 1, 3, true},
		{bpfChar, r, 1, 1, false}, // /dev/mem
		{bpfChar, m, 1, 1, true},
		{bpfChar, m | r, 1, 1, false},
		{bpfBlock, r, 1, 3, false},
		{bpfBlock, m, 8, 0, true},
		{bpfBlock, r, 8, 0, false}, // a disk
		{bpfBlock, w, 8, 0, false},
		{bpfChar, r | w, 136, 7, true},
		{bpfBlock, r, 7, 1, true},
		{bpfBlock, m | r, 7, 1, false},
		{bpfBlock, r | w, 7, 1, false},
	} {
		if got := allows(t, p, tc.kind, tc.access, tc.major, tc.minor); got != tc.want {
			t.Errorf("kind %d, access %d, %d:%d: %v", tc.kind, tc.access, tc.major, tc.minor, got)
		}
	}
	if b := encode(p); len(b) != 8*len(p) || b[0] != bpfLoad32 || b[1] != 0x12 {
		t.Errorf("encoded as % x", b[:8])
	}
}

func TestAllowListForms(t *testing.T) {
	all := &devices.Rule{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm", Allow: true}
	if _, everything, err := allowList([]*devices.Rule{all}); err != nil || !everything {
		t.Error(everything, err)
	}
	for name, rules := range map[string][]*devices.Rule{
		"no general rule":  deviceRules[1:],
		"a rule that bars": {deviceRules[0], {Type: devices.CharDevice, Major: 1, Minor: 1, Permissions: "r"}},
	} {
		if _, _, err := allowList(rules); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The kernel's verifier accepts the program. Where the cgroup tree is version
// 1, "make lab" shows the rest.
func TestDeviceProgramLoads(t *testing.T) {
	var st unix.Statfs_t
	if os.Getuid() != 0 || unix.Statfs("/sys/fs/cgroup", &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		t.Skip("needs root and cgroup v2")
	}
	dir, err := os.MkdirTemp("/sys/fs/cgroup", "proa-test-")
	if err != nil {
		t.Skip(err)
	}
	defer os.Remove(dir)
	allowed, _, _ := allowList(deviceRules)
	if err := attachDevices(dir, deviceProgram(allowed)); err != nil {
		t.Error(err)
	}
}
