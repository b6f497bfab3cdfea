// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// The device rules of a container of real root, who may make device nodes: no
// user namespace protects the host's disks from it. libcontainer leaves them to
// a package that brings an eBPF library of several hundred kilobytes along; our
// rules have one form, "nothing but these", and need 100 lines.

// EnforceDevices makes libcontainer's cgroup managers call us.
func EnforceDevices() {
	cgroups.DevicesSetV1 = setDevicesV1
	var done uint64 // inode of the cgroup that has its program: a second one would add nothing
	cgroups.DevicesSetV2 = func(dir string, r *cgroups.Resources) error {
		if r.SkipDevices || len(r.Devices) == 0 {
			return nil
		}
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil || done == st.Ino {
			return errs.Wrap(err, "look at cgroup", dir)
		}
		allowed, all, err := allowList(r.Devices)
		if err != nil || all {
			return err
		}
		if err := attachDevices(dir, deviceProgram(allowed)); err != nil {
			return errs.Wrap(err, "limit the devices of cgroup", dir)
		}
		done = st.Ino
		return nil
	}
}

// allowList is what the rules allow beyond nothing; all: everything.
func allowList(rules []*devices.Rule) (allowed []*devices.Rule, all bool, err error) {
	first := rules[0]
	if first.Type != devices.WildcardDevice || len(first.Permissions) != 3 {
		return nil, false, errs.New(errs.Internal, "the device rules do not begin with one for all devices")
	}
	for _, r := range rules[1:] {
		if !r.Allow {
			return nil, false, errs.New(errs.Internal, "a device rule forbids what another allows")
		}
	}
	return rules[1:], first.Allow, nil
}

// setDevicesV1 writes the rules for cgroup v1, whose new groups have their
// parent's.
func setDevicesV1(dir string, r *cgroups.Resources) error {
	if r.SkipDevices || len(r.Devices) == 0 {
		return nil
	}
	allowed, all, err := allowList(r.Devices)
	if err != nil || all {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "devices.deny"), []byte("a"), 0); err != nil {
		return errs.Wrap(err, "limit the devices of cgroup", dir)
	}
	for _, rule := range allowed {
		if err := os.WriteFile(filepath.Join(dir, "devices.allow"), []byte(rule.CgroupString()), 0); err != nil {
			return errs.Wrap(err, "limit the devices of cgroup", dir)
		}
	}
	return nil
}

// An eBPF instruction, as in linux/bpf.h.
type insn struct {
	op       uint8
	dst, src uint8
	off      int16
	imm      int32
}

const (
	bpfLoad32  = 0x61 // dst = *(u32 *)(src + off)
	bpfMov     = 0xbf // dst = src
	bpfMovImm  = 0xb7
	bpfAndImm  = 0x57
	bpfShrImm  = 0x77
	bpfJneImm  = 0x55
	bpfJneReg  = 0x5d
	bpfExit    = 0x95
	bpfChar    = 2 // BPF_DEVCG_DEV_CHAR
	bpfBlock   = 1
	bpfDevType = 0xffff // the type's part of access_type; the access stands above it
)

// deviceProgram answers 1 for an access that a rule allows. Registers: 2 type,
// 3 access (1 mknod, 2 read, 4 write), 4 major, 5 minor, 1 scratch.
func deviceProgram(allowed []*devices.Rule) []insn {
	p := []insn{
		{op: bpfLoad32, dst: 2, src: 1},
		{op: bpfMov, dst: 3, src: 2},
		{op: bpfAndImm, dst: 2, imm: bpfDevType},
		{op: bpfShrImm, dst: 3, imm: 16},
		{op: bpfLoad32, dst: 4, src: 1, off: 4},
		{op: bpfLoad32, dst: 5, src: 1, off: 8},
	}
	for _, r := range allowed {
		rule := ruleTests(r)
		for i := range rule {
			if rule[i].op == bpfJneImm || rule[i].op == bpfJneReg {
				rule[i].off = int16(len(rule) - i + 1) // behind the answer
			}
		}
		p = append(p, rule...)
		p = append(p, insn{op: bpfMovImm, imm: 1}, insn{op: bpfExit})
	}
	return append(p, insn{op: bpfMovImm}, insn{op: bpfExit})
}

// ruleTests jumps away, to where is filled in later, if a rule does not match.
func ruleTests(r *devices.Rule) (p []insn) {
	switch r.Type {
	case devices.CharDevice:
		p = append(p, insn{op: bpfJneImm, dst: 2, imm: bpfChar})
	case devices.BlockDevice:
		p = append(p, insn{op: bpfJneImm, dst: 2, imm: bpfBlock})
	}
	access := int32(0)
	for _, c := range r.Permissions {
		access |= map[rune]int32{'m': 1, 'r': 2, 'w': 4}[c]
	}
	if access != 7 { // everything that is asked for must be among it
		p = append(p, insn{op: bpfMov, dst: 1, src: 3}, insn{op: bpfAndImm, dst: 1, imm: access}, insn{op: bpfJneReg, dst: 1, src: 3})
	}
	if r.Major != devices.Wildcard {
		p = append(p, insn{op: bpfJneImm, dst: 4, imm: int32(r.Major)})
	}
	if r.Minor != devices.Wildcard {
		p = append(p, insn{op: bpfJneImm, dst: 5, imm: int32(r.Minor)})
	}
	return p
}

func encode(p []insn) []byte {
	b := make([]byte, 0, len(p)*8)
	for _, i := range p {
		b = append(b, i.op, i.src<<4|i.dst)
		b = binary.NativeEndian.AppendUint16(b, uint16(i.off))
		b = binary.NativeEndian.AppendUint32(b, uint32(i.imm))
	}
	return b
}

// attachDevices loads the program and gives it to a cgroup, beside those that
// its ancestors have; the kernel forgets it with the cgroup.
func attachDevices(dir string, p []insn) error {
	code, license := encode(p), []byte("Apache\x00")
	load := struct {
		kind, count   uint32
		code, license uint64
		rest          [96]byte
	}{kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(p)),
		code: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0])))}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&load)), unsafe.Sizeof(load))
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if errno != 0 {
		return os.NewSyscallError("bpf", errno)
	}
	defer unix.Close(int(fd))
	cg, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(cg)
	attach := struct{ target, prog, kind, flags uint32 }{uint32(cg), uint32(fd), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI}
	if _, _, errno = unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_ATTACH, uintptr(unsafe.Pointer(&attach)), unsafe.Sizeof(attach)); errno != 0 {
		return os.NewSyscallError("bpf", errno)
	}
	return nil
}
