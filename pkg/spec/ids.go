// SPDX-License-Identifier: Apache-2.0

package spec

import "github.com/proa-containers/proa/pkg/errs"

// MaxID is the highest id of a user or group: the kernel takes the next one for "none".
const MaxID int64 = 1<<32 - 2

// CheckOwner refuses owners in an archive that no file can have. The format has
// room for larger numbers, and the kernel would take the low 32 bits: root, for 4294967296.
func CheckOwner(uid, gid int) error {
	for _, id := range []int{uid, gid} {
		if id < 0 || int64(id) > MaxID {
			return errs.New(errs.Invalid, "it belongs to %d:%d, and ids are numbers from 0 to %d", uid, gid, MaxID)
		}
	}
	return nil
}
