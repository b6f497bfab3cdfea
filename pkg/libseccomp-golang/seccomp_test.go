// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"encoding/binary"
	"math/rand"
	"slices"
	"testing"
)

// run interprets a filter as the kernel does.
func run(t *testing.T, prog []insn, data []byte, big bool) uint32 {
	t.Helper()
	var order binary.ByteOrder = binary.LittleEndian
	if big {
		order = binary.BigEndian
	}
	var a uint32
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		jump := func(taken bool) {
			if taken {
				pc += int(in.jt)
			} else {
				pc += int(in.jf)
			}
		}
		switch in.code {
		case opLoad:
			a = order.Uint32(data[in.k:])
		case opAnd:
			a &= in.k
		case opJump:
			pc += int(in.k)
		case opJeq:
			jump(a == in.k)
		case opJgt:
			jump(a > in.k)
		case opJge:
			jump(a >= in.k)
		case opRet:
			return in.k
		default:
			t.Fatalf("instruction %d has code %#x", pc, in.code)
		}
	}
	t.Fatal("the program runs over its end")
	return 0
}

func input(nr, audit uint32, args [6]uint64, big bool) []byte {
	var order binary.ByteOrder = binary.LittleEndian
	if big {
		order = binary.BigEndian
	}
	b := make([]byte, 64)
	order.PutUint32(b[offNr:], nr)
	order.PutUint32(b[offArch:], audit)
	for i, v := range args {
		order.PutUint64(b[offArgs+8*i:], v)
	}
	return b
}

// model is what the package comment promises, read off the rules one by one.
func model(f *ScmpFilter, m machine, nr uint32, args [6]uint64) uint32 {
	holds := func(r rule) bool {
		for _, c := range r.conds {
			a, x, y := args[c.Argument], c.Operand1, c.Operand2
			if !m.wide {
				a, x, y = uint64(uint32(a)), uint64(uint32(x)), uint64(uint32(y))
			}
			ok := false
			switch c.Op {
			case CompareNotEqual:
				ok = a != x
			case CompareLess:
				ok = a < x
			case CompareLessOrEqual:
				ok = a <= x
			case CompareEqual:
				ok = a == x
			case CompareGreaterEqual:
				ok = a >= x
			case CompareGreater:
				ok = a > x
			case CompareMaskedEqual:
				ok = a&x == y&x
			}
			if !ok {
				return false
			}
		}
		return true
	}
	var mine []rule
	for _, r := range f.rules {
		if int64(syscalls[r.call].nr[m.column]) == int64(nr) {
			mine = append(mine, r)
		}
	}
	def, _ := f.def.ret()
	if i := slices.IndexFunc(mine, func(r rule) bool { return len(r.conds) == 0 }); i >= 0 {
		def, _ = mine[i].action.ret()
		return def
	}
	for _, r := range mine {
		if holds(r) {
			def, _ = r.action.ret()
			return def
		}
	}
	return def
}

var machines = map[ScmpArch][]ScmpArch{
	ArchAMD64: {ArchAMD64, ArchX86, ArchX32}, ArchARM64: {ArchARM64, ArchARM}, ArchRISCV64: {ArchRISCV64}, ArchS390X: {ArchS390X},
	ArchPPC64LE: {ArchPPC64LE}, ArchLOONGARCH64: {ArchLOONGARCH64},
}

func randomFilter(rnd *rand.Rand, arches []ScmpArch) *ScmpFilter {
	actions := []ScmpAction{ActAllow, ActErrno.SetReturnCode(1), ActErrno.SetReturnCode(38), ActKillProcess, ActTrap, ActLog}
	values := []uint64{0, 1, 5, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 5, 1<<33 - 1, ^uint64(0)}
	f := &ScmpFilter{def: actions[rnd.Intn(len(actions))], arches: arches}
	for range rnd.Intn(600) {
		r := rule{call: rnd.Intn(len(syscalls)), action: actions[rnd.Intn(len(actions))]}
		if via, _ := multiplexed(syscalls[r.call].name); via != "" {
			continue
		}
		for range rnd.Intn(3) * rnd.Intn(2) {
			r.conds = append(r.conds, ScmpCondition{uint(rnd.Intn(6)), ScmpCompareOp(1 + rnd.Intn(7)), values[rnd.Intn(len(values))], values[rnd.Intn(len(values))]})
		}
		f.rules = append(f.rules, r)
	}
	return f
}

// TestModel compares compiled filters with the rules, for every number and
// all architectures.
func TestModel(t *testing.T) {
	rnd := rand.New(rand.NewSource(7))
	values := []uint64{0, 1, 4, 5, 6, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 4, 1<<32 + 5, 1<<33 - 1, 1 << 33, ^uint64(0)}
	for native, arches := range machines {
		for range 20 {
			f := randomFilter(rnd, arches)
			prog, err := f.compile()
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range arches {
				m, _ := machineOf(a)
				for n := uint32(0); n < 560; n++ {
					nr := n
					if a == ArchX32 {
						nr |= x32Bit
					}
					for range 4 {
						var args [6]uint64
						for i := range args {
							args[i] = values[rnd.Intn(len(values))]
						}
						if got, want := run(t, prog, input(nr, m.audit, args, m.big), m.big), model(f, m, nr, args); got != want {
							t.Fatalf("%v on %v: call %d with %x: got %#x, want %#x", a, native, n, args, got, want)
						}
					}
				}
			}
			if got := run(t, prog, input(1, 0x1234, [6]uint64{}, false), machines[native] != nil && native == ArchS390X); got != 0 {
				t.Errorf("another architecture: %#x", got)
			}
		}
	}
}

// TestModes: a mode that was not asked for is killed, but a call that a tracer
// skips (-1) is none of x32.
func TestModes(t *testing.T) {
	f := &ScmpFilter{def: ActAllow, arches: []ScmpArch{ArchAMD64}}
	prog, err := f.compile()
	if err != nil {
		t.Fatal(err)
	}
	for nr, want := range map[uint32]uint32{0: 0x7fff0000, x32Bit: 0, x32Bit | 1: 0, 0xffffffff: 0x7fff0000} {
		if got := run(t, prog, input(nr, 0xc000003e, [6]uint64{}, false), false); got != want {
			t.Errorf("%#x: got %#x", nr, got)
		}
	}
	if got := run(t, prog, input(0, 0x40000003, [6]uint64{}, false), false); got != 0 {
		t.Errorf("x86: got %#x", got)
	}
}

// TestMultiplexed: a rule on socket holds for socketcall, too, unless a rule
// on socketcall itself says otherwise.
func TestMultiplexed(t *testing.T) {
	call := func(name string) int {
		i, ok := lookup(name)
		if !ok {
			t.Fatal(name)
		}
		return i
	}
	f := &ScmpFilter{def: ActAllow, arches: []ScmpArch{ArchX86}, rules: []rule{{call: call("socket"), action: ActTrap}, {call: call("shmget"), action: ActTrap}}}
	check := func(nr uint32, arg uint64, want uint32) {
		t.Helper()
		prog, err := f.compile()
		if err != nil {
			t.Fatal(err)
		}
		if got := run(t, prog, input(nr, 0x40000003, [6]uint64{arg}, false), false); got != want {
			t.Errorf("call %d(%d): got %#x, want %#x", nr, arg, got, want)
		}
	}
	check(359, 0, 0x30000)
	check(102, 1, 0x30000)
	check(102, 2, 0x7fff0000)
	check(117, 23, 0x30000)
	check(117, 24, 0x7fff0000)
	f.rules = append(f.rules, rule{call: call("socketcall"), action: ActAllow})
	check(102, 1, 0x7fff0000)
}

func TestNames(t *testing.T) {
	for i := 1; i < len(syscalls); i++ {
		if syscalls[i].name <= syscalls[i-1].name {
			t.Errorf("%s is not sorted", syscalls[i].name)
		}
	}
	for _, c := range []struct {
		name string
		arch ScmpArch
		want ScmpSyscall
	}{{"read", ArchAMD64, 0}, {"read", ArchX86, 3}, {"execve", ArchX32, 520 | x32Bit}, {"openat", ArchARM64, 56}, {"set_tls", ArchARM, 0xf0005}} {
		if got, err := GetSyscallFromNameByArch(c.name, c.arch); err != nil || got != c.want {
			t.Errorf("%s on %v: %d, %v", c.name, c.arch, got, err)
		}
	}
	if _, err := GetSyscallFromName("no_such_call"); err == nil {
		t.Error("found a call that does not exist")
	}
	nr, err := GetSyscallFromNameByArch("chown32", ArchAMD64)
	if err != nil || nr >= 0 {
		t.Errorf("chown32 on amd64: %d, %v", nr, err)
	}
}

func TestTooLong(t *testing.T) {
	f := &ScmpFilter{def: ActAllow, arches: []ScmpArch{ArchAMD64}}
	for i := range 2000 {
		f.rules = append(f.rules, rule{call: i % len(syscalls), action: ActTrap, conds: []ScmpCondition{{0, CompareEqual, uint64(i), 0}}})
	}
	if _, err := f.compile(); err == nil {
		t.Error("a filter that the kernel would refuse")
	}
}

func BenchmarkCompile(b *testing.B) {
	rnd := rand.New(rand.NewSource(7))
	f := &ScmpFilter{def: ActErrno.SetReturnCode(1), arches: []ScmpArch{ArchAMD64, ArchX86, ArchX32}}
	for _, i := range rnd.Perm(len(syscalls))[:400] {
		f.rules = append(f.rules, rule{call: i, action: ActAllow})
	}
	for b.Loop() {
		if _, err := f.ExportBPFMem(); err != nil {
			b.Fatal(err)
		}
	}
}

// A value with bits outside of its mask still forbids what the mask leaves.
func TestMaskedValue(t *testing.T) {
	f, err := NewFilter(ActAllow)
	if err != nil {
		t.Fatal(err)
	}
	call, err := GetSyscallFromName("personality")
	if err != nil {
		t.Fatal(err)
	}
	for _, mask := range []uint64{0xff, 0xff00000000} {
		c, err := MakeCondition(0, CompareMaskedEqual, mask, ^uint64(0))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.AddRuleConditional(call, ActKillProcess, []ScmpCondition{c}); err != nil {
			t.Fatal(err)
		}
	}
	prog, err := f.compile()
	if err != nil {
		t.Fatal(err)
	}
	native, _ := machineOf(ArchNative)
	for arg, want := range map[uint64]uint32{0xff: 0x80000000, 0x1ff: 0x80000000, 0xff00000000: 0x80000000, 0xfe: 0x7fff0000} {
		if got := run(t, prog, input(uint32(call), native.audit, [6]uint64{arg}, native.big), native.big); got != want {
			t.Errorf("%#x: %#x, want %#x", arg, got, want)
		}
	}
}
