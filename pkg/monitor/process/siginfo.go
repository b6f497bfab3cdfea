// SPDX-License-Identifier: Apache-2.0

package process

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// siginfoPid reads si_pid, which x/sys leaves inside the union: it stands at
// its start, and the union is aligned to the size of a pointer.
func siginfoPid(info *unix.Siginfo) int { return siginfoWord(info, 0) }

// siginfoStatus reads si_status, which stands behind si_pid and si_uid.
func siginfoStatus(info *unix.Siginfo) int { return siginfoWord(info, 2) }

func siginfoWord(info *unix.Siginfo, n uintptr) int {
	const head = 3 * 4 // si_signo, si_errno, si_code
	const align = unsafe.Sizeof(uintptr(0))
	offset := (head + align - 1) / align * align
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), offset+4*n)))
}
