// SPDX-License-Identifier: Apache-2.0

package files

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/overlay"
)

// xattr is an extended attribute that a copy has too.
type xattr struct {
	name  string
	value []byte
}

// capability holds the capabilities of a program.
const capability = "security.capability"

// hasXattrs says whether a copy of e can have extended attributes: links and FIFOs have
// none that count here.
func hasXattrs(e *Entry) bool { return e.isDir() || e.Stat.Mode&unix.S_IFMT == unix.S_IFREG }

// xattrsOf reads those extended attributes of an open file that come along.
func xattrsOf(fd int) []xattr {
	var few [1024]byte
	list := few[:]
	n, err := unix.Flistxattr(fd, list)
	if err == unix.ERANGE {
		list = make([]byte, 64<<10) // the kernel's own bound
		n, err = unix.Flistxattr(fd, list)
	}
	if err != nil || n == 0 {
		return nil
	}
	var out []xattr
	for _, name := range strings.Split(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if !keptXattr(name) {
			continue
		}
		value := make([]byte, 64<<10)
		if n, err := unix.Fgetxattr(fd, name, value); err == nil {
			out = append(out, xattr{name, value[:n]})
		}
	}
	return out
}

// keptXattr says which extended attributes come along: capabilities and those
// of users. Overlay's own marks stay behind: they would hide files of the layers
// below.
func keptXattr(name string) bool {
	return name == capability || strings.HasPrefix(name, "user.") && !overlay.IsNote(name)
}
