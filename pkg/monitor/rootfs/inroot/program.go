// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"bytes"
	"encoding/binary"
	"os"
	"runtime"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// ExplainRefusal says why the kernel did not execute a program that can be found
// and may be run. The runtime has printed the kernel's word into the container's
// standard error by then. It never returns nil: the kind alone is worth telling.
func (a *Attempt) ExplainRefusal() error {
	p, _, err := a.find()
	if err != nil {
		return err
	}
	head := a.head(p)
	script, isScript := bytes.CutPrefix(head, []byte("#!"))
	switch {
	case len(head) == 0:
		return refusal(errs.CannotInvoke, a.Name, "the file is empty", "")
	case isScript:
		return a.explainScript(script)
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return a.explainELF(head)
	}
	return refusal(errs.CannotInvoke, a.Name, "it is neither a program of this machine nor a script with an interpreter in its first line",
		"begin the script with #!/bin/sh")
}

// unknown is the error for other causes: a file that is being written, too many arguments,
// a security module.
func (a *Attempt) unknown() error {
	return refusal(errs.CannotInvoke, a.Name, "the kernel refused it for the reason that stands in the container's output", "")
}

func refusal(kind errs.Kind, name, why, hint string) error {
	return &errs.Error{Op: "run", Object: name, Kind: kind, Err: errs.New(kind, "%s", why), Hint: hint}
}

// explainScript looks at the interpreter that the first line names.
func (a *Attempt) explainScript(script []byte) error {
	line, _, _ := bytes.Cut(script, []byte("\n"))
	f := strings.Fields(string(line))
	if len(f) == 0 {
		return refusal(errs.CannotInvoke, a.Name, "its first line names no interpreter", "begin the script with #!/bin/sh")
	}
	if len(f) == 1 && bytes.HasSuffix(line, []byte("\r")) {
		return refusal(errs.CommandMissing, a.Name, "its first line ends with a carriage return, which the kernel takes for a part of the interpreter's name",
			`remove them: sed -i 's/\r$//' FILE`)
	}
	err := a.program(f[0])
	if errs.Is(err, errs.CommandMissing) {
		return refusal(errs.CommandMissing, a.Name, "its interpreter "+f[0]+" does not exist", "")
	}
	if err != nil {
		return refusal(errs.CannotInvoke, a.Name, "its interpreter cannot be run: "+err.Error(), errs.HintOf(err))
	}
	return a.unknown()
}

// program explains what is wrong with any other program.
func (a *Attempt) program(name string) error {
	other := *a
	other.Name = name
	_, _, err := other.find()
	return err
}

// machines are the numbers of ELF for what Go calls an architecture.
var machines = map[uint16]string{3: "386", 62: "amd64", 40: "arm", 183: "arm64", 243: "riscv64", 22: "s390x", 21: "ppc64le", 258: "loong64", 8: "mips"}

// explainELF looks at what a program is made for, and at its loader.
func (a *Attempt) explainELF(head []byte) error {
	if len(head) < 64 {
		return refusal(errs.CannotInvoke, a.Name, "the file is cut off", "")
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 {
		order = binary.BigEndian
	}
	if made := machines[order.Uint16(head[18:])]; made != "" && made != runtime.GOARCH {
		return refusal(errs.CannotInvoke, a.Name, "it is made for "+made+", and this machine is "+runtime.GOARCH,
			"take the image for this machine with --platform linux/"+runtime.GOARCH+", or install an emulator: sudo apt-get install qemu-user-static binfmt-support")
	}
	if loader := elfLoader(head, order); loader != "" {
		if err := a.program(loader); err != nil {
			return refusal(errs.KindOf(err), a.Name, "its loader "+loader+" is not in the image",
				"the program is made for another C library (glibc, musl): link it statically, or take a base image that has it")
		}
	}
	return a.unknown()
}

// elfLoader is the interpreter that a 64-bit program names, where its headers
// are in head.
func elfLoader(head []byte, order binary.ByteOrder) string {
	if head[4] != 2 {
		return ""
	}
	at, size, n := order.Uint64(head[32:]), uint64(order.Uint16(head[54:])), uint64(order.Uint16(head[56:]))
	// All numbers are the image's: a sum of two may wrap around.
	end := uint64(len(head))
	for ; n > 0 && size >= 56 && at <= end && size <= end-at; n, at = n-1, at+size {
		h := head[at:]
		if order.Uint32(h) != 3 { // PT_INTERP
			continue
		}
		off, length := order.Uint64(h[8:]), order.Uint64(h[32:])
		if off < end && length < end-off {
			name, _, _ := bytes.Cut(head[off:off+length], []byte{0})
			return string(name)
		}
	}
	return ""
}

// head is the beginning of a file; nil where it cannot be read.
func (a *Attempt) head(p string) []byte {
	h, _, err := a.open(p)
	if err != nil {
		return nil
	}
	defer h.Close()
	if st, err := h.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	f, err := pathrs.Reopen(h, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY)
	if err != nil {
		return nil
	}
	defer f.Close()
	return readHead(f)
}

func readHead(f *os.File) []byte {
	head := make([]byte, 4096)
	n, _ := f.ReadAt(head, 0) // a short file ends early
	return head[:n]
}
