// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// lockDir takes the lock beside a cache directory; unlock gives it back, as
// does the end of the process.
func lockDir(dir string, wait bool) (unlock func() error, err error) {
	f, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f.Close, nil
}

// maxPrivate bounds the copies of a private cache that may be in use at once.
const maxPrivate = 64

// privateDir finds a copy of a private cache that no other build uses now.
func privateDir(dir string) (string, func() error, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	for i := range maxPrivate {
		d := fmt.Sprintf("%s-%d", dir, i)
		unlock, err := lockDir(d, false)
		if err == nil {
			return d, unlock, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return "", nil, err
		}
	}
	return "", nil, errs.New(errs.InUse, "more than %d builds use this private cache mount", maxPrivate)
}
