// SPDX-License-Identifier: Apache-2.0

// Package hello is the program of the image that Proa carries itself: a static
// executable of a few hundred bytes that writes a text and ends. It is put
// together here, so that a first container needs neither a registry nor a
// compiler, and no binary file lies in the repository.
package hello

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
)

// Text is what the program writes.
const Text = `
Hello from Proa!

You have just run a container. This is what happened:

 1. The image "hello" is part of proa, so nothing had to be downloaded: it was
    unpacked into your own image store.
 2. proa started a small monitor process for the container. The monitor made
    its namespaces, its file system and its network, and will clear them away.
 3. The program /hello ran in there as process 1 and wrote this text.

There was no daemon, and nobody needed to be root.

To go on:
  proa run -it --rm debian bash          a shell in a Debian system
  proa run -d -p 8080:80 nginx           a web server in the background
  proa --help                            everything else

`

// Made is the creation time of the image: constant, so that the image's digest
// is too.
var Made = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	base     = 0x400000
	ehdrSize = 64
	phdrSize = 56
)

// ELF returns the executable for an architecture (a GOARCH).
func ELF(arch string) ([]byte, error) {
	var machine uint16
	var code []byte
	switch arch {
	case "amd64":
		machine, code = 62, amd64(len(Text))
	case "arm64":
		machine, code = 183, arm64(len(Text))
	default:
		return nil, errs.New(errs.Unsupported, "there is no built-in image for %s", arch)
	}
	size := uint64(ehdrSize + phdrSize + len(code) + len(Text))
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01")
	b.Write(make([]byte, 9))
	le := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	le([]uint16{2, machine}) // ET_EXEC
	le(uint32(1))
	le([]uint64{base + ehdrSize + phdrSize, ehdrSize, 0}) // entry, program headers, no sections
	le(uint32(0))
	le([]uint16{ehdrSize, phdrSize, 1, 64, 0, 0})
	le([]uint32{1, 5}) // PT_LOAD, readable and executable
	le([]uint64{0, base, base, size, size, 0x1000})
	b.Write(code)
	b.WriteString(Text)
	return b.Bytes(), nil
}

// The code of each architecture is write(1, text, n); exit(0), with the text
// right behind the code.

func amd64(n int) []byte {
	var b []byte
	b = append(b, 0xb8, 1, 0, 0, 0) // mov eax, 1 (write)
	b = append(b, 0xbf, 1, 0, 0, 0) // mov edi, 1
	b = append(b, 0x48, 0x8d, 0x35) // lea rsi, [rip+x]
	const total, afterLea = 5 + 5 + 7 + 5 + 2 + 5 + 2 + 2, 5 + 5 + 7
	b = binary.LittleEndian.AppendUint32(b, total-afterLea)
	b = append(b, 0xba) // mov edx, n
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = append(b, 0x0f, 0x05)        // syscall
	b = append(b, 0xb8, 60, 0, 0, 0) // mov eax, 60 (exit)
	b = append(b, 0x31, 0xff)        // xor edi, edi
	return append(b, 0x0f, 0x05)     // syscall
}

func words(w ...uint32) []byte {
	var b []byte
	for _, v := range w {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func arm64(n int) []byte {
	const text = 7 * 4 // bytes from the adr to the text
	return words(
		0xd2800020,              // mov x0, #1
		0x10000001|(text>>2)<<5, // adr x1, text
		0xd2800002|uint32(n)<<5, // mov x2, #n
		0xd2800808,              // mov x8, #64 (write)
		0xd4000001,              // svc #0
		0xd2800000,              // mov x0, #0
		0xd2800ba8,              // mov x8, #93 (exit)
		0xd4000001,              // svc #0
	)
}
