// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"
	"slices"
)

// insn is one instruction of classic BPF.
type insn struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

const (
	opLoad = 0x20 // A = word at offset k of struct seccomp_data
	opAnd  = 0x54
	opJump = 0x05
	opJeq  = 0x15
	opJgt  = 0x25
	opJge  = 0x35
	opRet  = 0x06

	offNr, offArch, offArgs = 0, 4, 16
	maxInsns                = 4096
	x32Bit                  = 1 << 30
)

// columns of the table of system calls.
const (
	colAMD64 = iota
	col386
	colX32
	colARM64
	colARM
	colRISCV64
	colPPC64LE
	colS390X
	colLOONG64
	columns
)

// machine is what the compiler must know of an architecture.
type machine struct {
	column int
	audit  uint32 // AUDIT_ARCH_*
	wide   bool   // arguments have 64 bits
	big    bool   // endian
	mux    bool   // has socketcall and ipc
}

func machineOf(a ScmpArch) (machine, error) {
	if a == ArchNative {
		native, err := GetNativeArch()
		if err != nil {
			return machine{}, err
		}
		a = native
	}
	switch a {
	case ArchAMD64:
		return machine{colAMD64, 0xc000003e, true, false, false}, nil
	case ArchX32:
		return machine{colX32, 0xc000003e, false, false, false}, nil
	case ArchX86:
		return machine{col386, 0x40000003, false, false, true}, nil
	case ArchARM64:
		return machine{colARM64, 0xc00000b7, true, false, false}, nil
	case ArchARM:
		return machine{colARM, 0x40000028, false, false, false}, nil
	case ArchRISCV64:
		return machine{colRISCV64, 0xc00000f3, true, false, false}, nil
	case ArchPPC64LE:
		return machine{colPPC64LE, 0xc0000015, true, false, true}, nil
	case ArchS390X:
		return machine{colS390X, 0x80000016, true, true, true}, nil
	case ArchLOONGARCH64:
		return machine{colLOONG64, 0xc0000102, true, false, false}, nil
	}
	return machine{}, fmt.Errorf("no table of system calls for architecture %v", a)
}

// compile makes the program. It is put together from pieces that each end in a
// return, so that a branch is a test, the one piece, the other piece.
func (f *ScmpFilter) compile() ([]insn, error) {
	def, err := f.def.ret()
	if err != nil {
		return nil, err
	}
	// Last: an architecture that is not asked for. libseccomp's default.
	prog := []insn{{opRet, 0, 0, 0}}
	done := map[uint32]bool{}
	for _, a := range f.arches {
		m, err := machineOf(a)
		if err != nil {
			return nil, err
		}
		if done[m.audit] {
			continue
		}
		done[m.audit] = true
		body, err := f.body(m, def)
		if err != nil {
			return nil, err
		}
		prog = branch(opJeq, m.audit, body, prog)
	}
	prog = append([]insn{{opLoad, 0, 0, offArch}}, prog...)
	if len(prog) > maxInsns {
		return nil, fmt.Errorf("the filter has %d instructions, and the kernel takes %d", len(prog), maxInsns)
	}
	return prog, nil
}

// body decides about the system calls of one architecture.
func (f *ScmpFilter) body(m machine, def uint32) ([]insn, error) {
	load := insn{opLoad, 0, 0, offNr}
	amd64, hasAMD64 := m, slices.Contains(f.arches, ArchAMD64)
	if m.audit != 0xc000003e {
		tree, err := f.tree(m, def)
		return append([]insn{load}, tree...), err
	}
	// x86-64 and x32 share a number and differ in a bit of the call's. A
	// tracer that skips a call sets its number to -1, which is no x32 call.
	kill := []insn{{opRet, 0, 0, 0}}
	low, high := kill, kill
	var err error
	if hasAMD64 {
		amd64.column, amd64.wide = colAMD64, true
		if low, err = f.tree(amd64, def); err != nil {
			return nil, err
		}
	}
	if slices.Contains(f.arches, ArchX32) {
		x32 := m
		x32.column, x32.wide = colX32, false
		if high, err = f.tree(x32, def); err != nil {
			return nil, err
		}
	}
	high = branch(opJeq, 0xffffffff, []insn{{opRet, 0, 0, def}}, high)
	return append([]insn{load}, branch(opJge, x32Bit, high, low)...), nil
}

// branch is "if A op k then yes else no".
func branch(op uint16, k uint32, yes, no []insn) []insn {
	code := make([]insn, 0, 2+len(yes)+len(no))
	switch {
	case len(yes) <= 255:
		code = append(code, insn{op, 0, uint8(len(yes)), k})
	default:
		code = append(code, insn{op, 1, 0, k}, insn{opJump, 0, 0, uint32(len(yes))})
	}
	return append(append(code, yes...), no...)
}

// span is a run of system calls, from first to the next span, with one verdict.
type span struct {
	first uint32
	ret   uint32
	code  []insn // instead of ret, where arguments count
}

func (s *span) insns() []insn {
	if s.code != nil {
		return s.code
	}
	return []insn{{opRet, 0, 0, s.ret}}
}

// tree searches the number in A among the spans.
func (f *ScmpFilter) tree(m machine, def uint32) ([]insn, error) {
	spans, err := f.spans(m, def)
	if err != nil {
		return nil, err
	}
	var build func(s []span) []insn
	build = func(s []span) []insn {
		if len(s) == 1 {
			return s[0].insns()
		}
		mid := len(s) / 2
		return branch(opJge, s[mid].first, build(s[mid:]), build(s[:mid]))
	}
	return build(spans), nil
}

// spans covers all numbers, neighbours with the same verdict in one.
func (f *ScmpFilter) spans(m machine, def uint32) ([]span, error) {
	byNr := f.verdicts(m)
	numbers := make([]uint32, 0, len(byNr))
	for nr := range byNr {
		numbers = append(numbers, nr)
	}
	slices.Sort(numbers)
	spans := []span{{ret: def}}
	add := func(s span) {
		last := &spans[len(spans)-1]
		switch {
		case last.first == s.first:
			*last = s
			if n := len(spans); n > 1 && s.code == nil && spans[n-2].code == nil && spans[n-2].ret == s.ret {
				spans = spans[:n-1]
			}
		case last.code == nil && s.code == nil && last.ret == s.ret:
		default:
			spans = append(spans, s)
		}
	}
	for _, nr := range numbers {
		s := span{first: nr}
		var err error
		if v := byNr[nr]; v.always != nil {
			s.ret, err = v.always.ret()
		} else {
			s.code, err = argCode(v.rules, m, def)
		}
		if err != nil {
			return nil, err
		}
		add(s)
		add(span{first: nr + 1, ret: def})
	}
	return spans, nil
}

// verdict is what the rules say about one system call.
type verdict struct {
	always *ScmpAction
	rules  []rule
}

func (f *ScmpFilter) verdicts(m machine) map[uint32]*verdict {
	byNr := make(map[uint32]*verdict, len(f.rules))
	put := func(nr int32, r rule) {
		v := byNr[uint32(nr)]
		if v == nil {
			v = &verdict{}
			byNr[uint32(nr)] = v
		}
		switch {
		case v.always != nil:
		case len(r.conds) == 0:
			v.always, v.rules = &r.action, nil
		default:
			v.rules = append(v.rules, r)
		}
	}
	for _, r := range f.rules {
		entry := &syscalls[r.call]
		if nr := entry.nr[m.column]; nr >= 0 {
			put(nr, r)
		}
		if !m.mux {
			continue
		}
		if via, n := multiplexed(entry.name); via != "" {
			if i, ok := lookup(via); ok && syscalls[i].nr[m.column] >= 0 {
				put(syscalls[i].nr[m.column], muxRule(r, n))
			}
		}
	}
	return byNr
}

// muxRule is r for a call made through socketcall or ipc, whose first argument
// is the number n of the operation. Arguments of the call itself cannot be
// seen there, so a condition on the first stands for the whole call.
func muxRule(r rule, n uint64) rule {
	conds := []ScmpCondition{{Argument: 0, Op: CompareEqual, Operand1: n}}
	for _, c := range r.conds {
		if c.Argument != 0 {
			conds = append(conds, c)
		}
	}
	r.conds = conds
	return r
}

func multiplexed(name string) (via string, n uint64) {
	for i, s := range socketCalls {
		if s == name {
			return "socketcall", uint64(i + 1)
		}
	}
	if n, ok := ipcCalls[name]; ok {
		return "ipc", n
	}
	return "", 0
}

var socketCalls = [...]string{"socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send",
	"recv", "sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg"}

var ipcCalls = map[string]uint64{"semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11, "msgrcv": 12,
	"msgget": 13, "msgctl": 14, "shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24}

// argCode tries rules with conditions in their order.
func argCode(rules []rule, m machine, def uint32) ([]insn, error) {
	var code []insn
	for _, r := range rules {
		ret, err := r.action.ret()
		if err != nil {
			return nil, err
		}
		var body []insn
		var fails []int // jumps in body to what follows it
		for _, c := range r.conds {
			var err error
			if body, fails, err = condition(body, fails, c, m); err != nil {
				return nil, err
			}
		}
		body = append(body, insn{opRet, 0, 0, ret})
		for _, i := range fails {
			body[i].k = uint32(len(body) - i - 1)
		}
		code = append(code, body...)
	}
	return append(code, insn{opRet, 0, 0, def}), nil
}

// condition appends code that goes on behind itself when c holds, and to a
// jump that is noted in fails when it does not.
func condition(body []insn, fails []int, c ScmpCondition, m machine) ([]insn, []int, error) {
	if c.Argument > 5 {
		return nil, nil, fmt.Errorf("argument %d does not exist", c.Argument)
	}
	lo, hi := uint32(offArgs+8*c.Argument), uint32(offArgs+8*c.Argument+4)
	if m.big {
		lo, hi = hi, lo
	}
	var code []insn
	fail := insn{opJump, 0, 0, 0}
	h, l := uint32(c.Operand1>>32), uint32(c.Operand1)
	switch {
	case c.Op == CompareMaskedEqual:
		// Bits outside of the mask do not count on either side, as in
		// libseccomp: a rule that forbids must not miss for them.
		want := c.Operand2 & c.Operand1
		if m.wide {
			code = append(code, insn{opLoad, 0, 0, hi}, insn{opAnd, 0, 0, h}, insn{opJeq, 1, 0, uint32(want >> 32)}, fail)
		}
		code = append(code, insn{opLoad, 0, 0, lo}, insn{opAnd, 0, 0, l}, insn{opJeq, 1, 0, uint32(want)}, fail)
	case m.wide:
		code = compareWide(c.Op, hi, lo, h, l, fail)
	default:
		code = compareNarrow(c.Op, lo, l, fail)
	}
	if code == nil {
		return nil, nil, fmt.Errorf("invalid comparison %d", c.Op)
	}
	for i, in := range code {
		if in == fail {
			fails = append(fails, len(body)+i)
		}
	}
	return append(body, code...), fails, nil
}

func compareNarrow(op ScmpCompareOp, lo, l uint32, fail insn) []insn {
	load := insn{opLoad, 0, 0, lo}
	switch op {
	case CompareEqual:
		return []insn{load, {opJeq, 1, 0, l}, fail}
	case CompareNotEqual:
		return []insn{load, {opJeq, 0, 1, l}, fail}
	case CompareGreater:
		return []insn{load, {opJgt, 1, 0, l}, fail}
	case CompareGreaterEqual:
		return []insn{load, {opJge, 1, 0, l}, fail}
	case CompareLess:
		return []insn{load, {opJge, 0, 1, l}, fail}
	case CompareLessOrEqual:
		return []insn{load, {opJgt, 0, 1, l}, fail}
	}
	return nil
}

// compareWide compares 64 bits by halves. In each sequence instruction 5 is
// the failure and 6 what follows; the jumps count from the next instruction.
func compareWide(op ScmpCompareOp, hi, lo, h, l uint32, fail insn) []insn {
	loadHi, loadLo := insn{opLoad, 0, 0, hi}, insn{opLoad, 0, 0, lo}
	switch op {
	case CompareEqual:
		return []insn{loadHi, {opJeq, 1, 0, h}, fail, loadLo, {opJeq, 1, 0, l}, fail}
	case CompareNotEqual:
		return []insn{loadHi, {opJeq, 0, 3, h}, loadLo, {opJeq, 0, 1, l}, fail}
	case CompareGreater:
		return []insn{loadHi, {opJgt, 4, 0, h}, {opJeq, 0, 2, h}, loadLo, {opJgt, 1, 0, l}, fail}
	case CompareGreaterEqual:
		return []insn{loadHi, {opJgt, 4, 0, h}, {opJeq, 0, 2, h}, loadLo, {opJge, 1, 0, l}, fail}
	case CompareLess:
		return []insn{loadHi, {opJgt, 3, 0, h}, {opJeq, 0, 3, h}, loadLo, {opJge, 0, 1, l}, fail}
	case CompareLessOrEqual:
		return []insn{loadHi, {opJgt, 3, 0, h}, {opJeq, 0, 3, h}, loadLo, {opJgt, 0, 1, l}, fail}
	}
	return nil
}
