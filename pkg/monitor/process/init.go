// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"runtime"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// keyring is the session keyring that a user's containers share.
const keyring = "_ses.proa"

// Permissions of the keyring: all for who possesses it; view, read, search and
// link for the user, so that the next container finds it by name.
const keyringPerm = 0x3f000000 | 0x00010000 | 0x00020000 | 0x00080000 | 0x00100000

// Init is the monitor's binary inside a new container: it finishes what the
// namespaces need from inside and becomes the container's program. It does not
// return.
func Init() {
	runtime.LockOSThread() // credentials, and with them the keyring, belong to a thread
	// A container must not see the keys of the user's login session. One
	// keyring per container, libcontainer's way, runs into the kernel's quota
	// of 200 keys per user: keyrings of ended containers go late.
	if _, err := unix.KeyctlJoinSessionKeyring(keyring); err == nil {
		_ = unix.KeyctlSetperm(unix.KEY_SPEC_SESSION_KEYRING, keyringPerm)
	}
	// With --pid=host there is no pid namespace whose end would take the
	// container along. The monitor's thread that is our parent lives as long as
	// the monitor does; libcontainer keeps the signal across the change of uid.
	if os.Getenv("_LIBCONTAINER_INITTYPE") == "standard" && os.Getppid() > 1 {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	}
	adoptWhereMarked()
	libcontainer.Init()
}
