// SPDX-License-Identifier: Apache-2.0

package build

import (
	"debug/elf"
	"encoding/binary"
	"runtime"
	"slices"

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
