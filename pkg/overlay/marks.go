// SPDX-License-Identifier: Apache-2.0

package overlay

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Prefix begins the names that mean something in a layer's archive, and that
// fuse-overlayfs gives to its marks. Whoever wants a file of such a name in a
// layer cannot have it.
const (
	Prefix     = ".wh."
	OpaqueName = ".wh..wh..opq" // makes its directory opaque
)

// Mark is what an entry of an upper directory means to the layers below.
type Mark int

const (
	None     Mark = iota // it is a file of the user
	Whiteout             // a name is hidden
	Opaque               // everything is hidden that lower layers have in this directory
	Internal             // nothing to anybody else
)

// MarkOf says what the entry called base is, and which name it hides. fuse says
// that fuse-overlayfs wrote the directory; to the kernel a name is only a name.
func MarkOf(base string, st *unix.Stat_t, fuse bool) (m Mark, name string) {
	if fuse {
		if m, name := MarkName(base); m != None {
			return m, name
		}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
		return Whiteout, base
	}
	return None, ""
}

// MarkName is MarkOf for a name alone, of a directory that fuse-overlayfs
// wrote. It lets nobody else make such names.
func MarkName(base string) (m Mark, name string) {
	rest, ok := strings.CutPrefix(base, Prefix)
	switch {
	case !ok:
		return None, ""
	case rest == ".wh..opq", rest == ".opq":
		return Opaque, ""
	case rest == "", rest == ".", rest == "..", strings.HasPrefix(rest, Prefix):
		return Internal, ""
	}
	return Whiteout, rest
}

// notes are the prefixes of the attributes in which overlays keep what they
// must know. The last one is the owner and mode that fuse-overlayfs pretends.
var notes = []string{
	"user.overlay.", "trusted.overlay.", "user.fuseoverlayfs.", "security.fuseoverlayfs.", "user.containers.override_",
}

// IsNote says that an extended attribute speaks to an overlay: it is none of
// the user's, must not come out of an archive, and stays behind when a file is
// copied.
func IsNote(attr string) bool {
	for _, p := range notes {
		if strings.HasPrefix(attr, p) {
			return true
		}
	}
	return false
}

// IsOpaque says that an attribute of a directory hides what lies below. Another
// value than "y" only says that some entries have marks of another kind.
func IsOpaque(attr string, value []byte, fuse bool) bool {
	switch attr {
	case "user.overlay.opaque", "trusted.overlay.opaque":
		return string(value) == "y"
	case "user.fuseoverlayfs.opaque":
		return fuse && string(value) == "y"
	}
	return false
}

// HasOpaque asks an open directory for these attributes.
func HasOpaque(fd int, fuse bool) bool {
	var b [4]byte
	for _, a := range []string{"user.overlay.opaque", "trusted.overlay.opaque", "user.fuseoverlayfs.opaque"} {
		if n, err := unix.Fgetxattr(fd, a, b[:]); err == nil && IsOpaque(a, b[:n], fuse) {
			return true
		}
	}
	return false
}
