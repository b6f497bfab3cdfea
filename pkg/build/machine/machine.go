// SPDX-License-Identifier: Apache-2.0

// Package machine knows which programs this machine runs: its own, those of its
// 32-bit sibling, and those that the kernel hands to an emulator (binfmt_misc).
package machine

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/proa-containers/proa/pkg/build/dockerfile"
)

// Platforms are those whose RUN steps work on this machine: its own first, then
// those that the kernel has an emulator for.
func Platforms() []string {
	var others []string
	for arch, m := range machines {
		if arch != runtime.GOARCH && emulated(binfmtDir, elfHead(m[0])) {
			others = append(others, "linux/"+arch)
		}
	}
	slices.Sort(others)
	return append([]string{dockerfile.HostPlatform()}, others...)
}

// elfHead is how a program for a machine begins.
func elfHead(m elf.Machine) []byte {
	head := make([]byte, 64)
	copy(head, elf.ELFMAG)
	head[elf.EI_CLASS], head[elf.EI_DATA], head[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	order := binary.ByteOrder(binary.LittleEndian)
	switch m {
	case elf.EM_386, elf.EM_ARM:
		head[elf.EI_CLASS] = byte(elf.ELFCLASS32)
	case elf.EM_S390:
		head[elf.EI_DATA], order = byte(elf.ELFDATA2MSB), binary.BigEndian
	}
	order.PutUint16(head[16:], uint16(elf.ET_EXEC))
	order.PutUint16(head[18:], uint16(m))
	order.PutUint32(head[20:], uint32(elf.EV_CURRENT))
	return head
}

// Refuses says whether head begins a program for another machine, which the kernel
// does not run here. Of what is no ELF program it cannot tell.
func Refuses(head []byte) bool {
	m, known := elfMachine(head)
	return known && !runsHere(m) && !emulated(binfmtDir, head)
}

func elfMachine(head []byte) (elf.Machine, bool) {
	if len(head) < 20 || !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return 0, false
	}
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		return elf.Machine(uint16(head[18])<<8 | uint16(head[19])), true
	}
	return elf.Machine(uint16(head[19])<<8 | uint16(head[18])), true
}

// machines are what the kernel of an architecture runs, with the 32-bit one
// that most can.
var machines = map[string][]elf.Machine{
	"amd64": {elf.EM_X86_64, elf.EM_386}, "arm64": {elf.EM_AARCH64, elf.EM_ARM}, "386": {elf.EM_386}, "arm": {elf.EM_ARM},
	"riscv64": {elf.EM_RISCV}, "ppc64le": {elf.EM_PPC64}, "s390x": {elf.EM_S390}, "loong64": {elf.EM_LOONGARCH},
}

func runsHere(m elf.Machine) bool {
	mine := machines[runtime.GOARCH]
	return mine == nil || slices.Contains(mine, m)
}

const binfmtDir = "/proc/sys/fs/binfmt_misc"

// emulated says whether the kernel hands such a program to an interpreter.
func emulated(dir string, head []byte) bool {
	entries, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, e := range entries {
		text, err := os.ReadFile(e)
		if err == nil && strings.HasPrefix(string(text), "enabled\n") && binfmtMatches(string(text), head) {
			return true
		}
	}
	return false
}

func binfmtMatches(text string, head []byte) bool {
	offset := 0
	var magic, mask []byte
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		var err error
		switch k {
		case "offset":
			offset, err = strconv.Atoi(v)
		case "magic":
			magic, err = hex.DecodeString(v)
		case "mask":
			mask, err = hex.DecodeString(v)
		}
		if err != nil {
			return false
		}
	}
	if len(magic) == 0 || offset < 0 || offset+len(magic) > len(head) || mask != nil && len(mask) != len(magic) {
		return false
	}
	for i, m := range magic {
		b := head[offset+i]
		if mask != nil {
			b &= mask[i]
			m &= mask[i]
		}
		if b != m {
			return false
		}
	}
	return true
}
