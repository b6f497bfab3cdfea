// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/errs"
)

// cannotExec is what the runtime returns when the kernel refuses the program.
const cannotExec = 255

// foreignProgram explains why a step could not even begin: its program is for
// another machine, and the kernel knows no emulator. nil: that is not why.
func (s *stage) foreignProgram(sc Scratch, step RunStep, code int) error {
	if code != cannotExec || len(step.Container.Process.Args) == 0 {
		return nil
	}
	head := programHead(sc, step)
	machine, known := elfMachine(head)
	if !known || runsHere(machine) || emulated(binfmtDir, head) {
		return nil
	}
	target := strings.TrimSuffix(strings.Join([]string{s.image.OS, s.image.Architecture, s.image.Variant}, "/"), "/")
	return errs.WithHint(errs.New(errs.Unsupported, "cannot run %s for %s on this %s machine: exec format error: the kernel has no emulator for it", step.Container.Process.Args[0], target, dockerfile.HostPlatform()),
		"install one (Debian, Ubuntu: apt-get install qemu-user-static binfmt-support; Fedora: dnf install qemu-user-static), or run the step in a stage FROM --platform=$BUILDPLATFORM")
}

// programHead is the beginning of the step's program; nil where it cannot be
// found.
func programHead(sc Scratch, step RunStep) []byte {
	merged, err := sc.Merged()
	if err != nil {
		return nil
	}
	defer sc.Unmount() //nolint:errcheck // the failure of the step is what counts
	r, err := files.OpenRoot(merged)
	if err != nil {
		return nil
	}
	defer r.Close()
	for _, p := range programPaths(step) {
		fd, err := r.Open(p, unix.O_RDONLY|unix.O_NONBLOCK)
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), p)
		head := make([]byte, 256) // as much as the kernel looks at
		n, _ := f.ReadAt(head, 0) // a short program ends early
		f.Close()
		if n > 0 {
			return head[:n]
		}
	}
	return nil
}

func programPaths(step RunStep) []string {
	name := step.Container.Process.Args[0]
	if strings.Contains(name, "/") {
		return []string{path.Join("/", step.Config.WorkingDir, name), name}
	}
	dirs, _ := dockerfile.Env(step.Config.Env).Over(step.Container.Process.Env).Get("PATH")
	var out []string
	for _, d := range strings.Split(dirs, ":") {
		out = append(out, path.Join("/", d, name))
	}
	return out
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
