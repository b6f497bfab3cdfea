// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
	"github.com/proa-containers/proa/pkg/rmtree"
)

// Lock takes the lock beside a cache directory; unlock gives it back, as
// does the end of the process. It fails with EWOULDBLOCK where somebody has it.
func Lock(dir string) (unlock func() error, err error) {
	return lock(dir, func(f *os.File) error { return filelock.Flock(f, unix.LOCK_EX|unix.LOCK_NB) })
}

// LockUntil is Lock that waits for the lock until ctx ends.
func LockUntil(ctx context.Context, dir string) (unlock func() error, err error) {
	return lock(dir, func(f *os.File) error { return filelock.Until(ctx, f, unix.LOCK_EX) })
}

func lock(dir string, take func(*os.File) error) (unlock func() error, err error) {
	f, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := take(f); err != nil {
		f.Close()
		return nil, err
	}
	return f.Close, nil
}

// maxPrivate bounds the copies of a private cache that may be in use at once.
const maxPrivate = 64

// PrivateDir finds a copy of a private cache that no other build uses now.
func PrivateDir(dir string) (string, func() error, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	for i := range maxPrivate {
		d := fmt.Sprintf("%s-%d", dir, i)
		unlock, err := Lock(d)
		if err == nil {
			return d, unlock, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return "", nil, err
		}
	}
	return "", nil, errs.New(errs.InUse, "more than %d builds use this private cache mount", maxPrivate)
}

// WorkDir makes a private directory below parent. remove ends it and may be called twice;
// what a killed build left there, the next one removes.
func WorkDir(ctx context.Context, parent string) (dir string, remove func(), err error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", nil, err
	}
	unlock, err := LockUntil(ctx, filepath.Join(parent, "build"))
	if err != nil {
		return "", nil, err
	}
	defer unlock() //nolint:errcheck // closing gives the lock back in any case
	sweepWorkDirs(parent)
	if dir, err = os.MkdirTemp(parent, workPrefix); err != nil {
		return "", nil, err
	}
	free, err := Lock(dir)
	if err != nil {
		return "", nil, errors.Join(err, rmtree.Remove(dir))
	}
	return dir, sync.OnceFunc(func() {
		_ = rmtree.Remove(dir)
		_ = os.Remove(dir + ".lock")
		_ = free()
	}), nil
}

// Clean removes what killed builds left below parent.
func Clean(ctx context.Context, parent string) error {
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := LockUntil(ctx, filepath.Join(parent, "build"))
	if err != nil {
		return err
	}
	sweepWorkDirs(parent)
	return unlock()
}

// Abandoned says whether a killed build left something below parent.
func Abandoned(parent string) bool {
	return slices.ContainsFunc(workDirs(parent), func(dir string) bool {
		free, err := Lock(dir)
		if err != nil {
			return false
		}
		_ = free()
		return true
	})
}

// Hold keeps the layers of the build cache below dir, as a build under way does,
// until release or the end of the process: for what goes on with them when the
// build itself is over.
func Hold(ctx context.Context, dir string) (release func(), err error) {
	_, release, err = WorkDir(ctx, filepath.Join(dir, "tmp"))
	return release, err
}

const workPrefix = "proa-build-"

// sweepWorkDirs removes the directories whose lock nobody holds, or that have none
// because their maker was killed before it. The caller holds the lock of parent, so
// that none is just being made.
func sweepWorkDirs(parent string) {
	for _, dir := range workDirs(parent) {
		free, err := Lock(dir)
		if err != nil {
			continue
		}
		_ = rmtree.Remove(dir)
		_ = os.Remove(dir + ".lock")
		_ = free()
	}
}

// workDirs are the private directories below parent, also of those that have only a lock
// left.
func workDirs(parent string) []string {
	found, _ := filepath.Glob(filepath.Join(parent, workPrefix+"*"))
	for i := range found {
		found[i] = strings.TrimSuffix(found[i], ".lock")
	}
	return slices.Compact(found)
}
