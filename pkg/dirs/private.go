// SPDX-License-Identifier: Apache-2.0

package dirs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/proa-containers/proa/pkg/atomicfile"
	"github.com/proa-containers/proa/pkg/errs"
)

// What Proa itself puts into the two roots, as patterns. docs/STATE.md says what
// each is.
var (
	dataNames = []string{"state.db*", "containers", "volumes", "init-*", "storage", "artifacts", "build",
		"images.lock", "rootfs", "files", "reserve", ".overlay-probe-*"}
	runNames = []string{"userns.lock", "userns.json", "build", "overlay-probe", "rootfs", "mnt",
		"c", "net", "storage"}
)

// ensurePrivate makes p, and closes it to other users where a script or a loose
// umask made it. It refuses what it may not close, and a directory of somebody
// else: in /tmp another user could have made it first and would then see our
// sockets. own are the names of what Proa puts there. real is p without symbolic
// links: the runtime takes no root file system behind one, and two names of one
// directory must not pass for two places. The notice says that it was closed.
func ensurePrivate(p string, uid int, own []string) (real, notice string, err error) {
	if err := os.MkdirAll(p, 0o700); err != nil {
		return "", "", notMade(p, err)
	}
	fi, err := os.Lstat(p)
	if err != nil {
		return "", "", err
	}
	if fi.Mode()&os.ModeSymlink != 0 {
		// Somebody else could have left it in /tmp, and chosen where it leads.
		if st := fi.Sys().(*syscall.Stat_t); int(st.Uid) != uid && st.Uid != 0 {
			err := errs.New(errs.Denied, "%s is a symbolic link of uid %d: it is not followed", p, st.Uid)
			return "", "", errs.WithHint(err, "set PROA_DATA_DIR and PROA_RUN_DIR to directories of your own")
		}
	}
	if real, err = filepath.EvalSymlinks(p); err != nil {
		return "", "", errs.Wrap(err, "find directory", p)
	}
	notice, err = closeOthers(real, uid, own)
	return real, notice, err
}

// notMade explains why p could not be made. For a link that leads nowhere the kernel says
// only that the file exists.
func notMade(p string, err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		if to, lerr := os.Readlink(at.Path); lerr == nil {
			return errs.WithHint(errs.New(errs.NotFound, "cannot create directory %q: %s is a symbolic link, and there is no directory %s", p, at.Path, to),
				"make that directory (or mount what holds it), or set PROA_DATA_DIR and PROA_RUN_DIR to directories of your own")
		}
	}
	return errs.WithHint(&errs.Error{Op: "create directory", Kind: errs.Denied, Object: p, Err: err},
		"set PROA_DATA_DIR and PROA_RUN_DIR to directories of your own")
}

// closeOthers closes the directory p, which is no link.
func closeOthers(p string, uid int, own []string) (notice string, err error) {
	fi, err := os.Lstat(p)
	if err != nil {
		return "", err
	}
	if !fi.IsDir() {
		return "", errs.New(errs.Invalid, "%s is not a directory", p)
	}
	// Inside the user's namespace the owner appears as uid 0, which is also
	// what the caller's uid is there.
	if st := fi.Sys().(*syscall.Stat_t); int(st.Uid) != uid {
		return "", errs.WithHint(errs.New(errs.Denied, "directory %s belongs to uid %d, not to %d", p, st.Uid, uid),
			"set PROA_DATA_DIR and PROA_RUN_DIR to directories of your own")
	}
	if fi.Mode().Perm()&0o077 == 0 {
		return "", nil
	}
	return closeDir(p, uid, own)
}

// closeDir takes the access of others to a directory of the user's own. One that
// also holds other things may be meant to be read by others, and stays as it is
// unless they may write: whoever can rename what is in it can put something else
// into its place. What somebody did so before is refused.
func closeDir(p string, uid int, own []string) (notice string, err error) {
	d, err := os.OpenFile(p, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return "", &errs.Error{Op: "open directory", Kind: errs.Denied, Object: p, Err: err}
	}
	defer d.Close()
	fi, err := d.Stat()
	if err != nil {
		return "", err
	}
	mode, writable := fi.Mode().Perm(), fi.Mode().Perm()&0o022 != 0
	names, err := d.Readdirnames(-1)
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if !owns(own, n) {
			if !writable {
				return "", nil
			}
			err := errs.New(errs.Denied, "directory %s can be written by other users (mode %04o) and holds more than Proa's files: %s",
				p, mode, n)
			return "", errs.WithHint(err, "chmod go-w %s, or set PROA_DATA_DIR and PROA_RUN_DIR to directories of their own", p)
		}
		if st, err := os.Lstat(filepath.Join(p, n)); writable && err == nil && int(st.Sys().(*syscall.Stat_t).Uid) != uid {
			err := errs.New(errs.Denied, "directory %s can be written by other users (mode %04o), and %s in it belongs to uid %d",
				p, mode, n, st.Sys().(*syscall.Stat_t).Uid)
			return "", errs.WithHint(err, "look at what it is, remove it, and run chmod go-w %s", p)
		}
	}
	if err := d.Chmod(0o700); err != nil {
		return "", &errs.Error{Op: "close to other users the directory", Kind: errs.Denied, Object: p, Err: err}
	}
	if len(names) == 0 {
		return "", nil // as if it had been made just now
	}
	return fmt.Sprintf("directory %s was open to other users (mode %04o): it is closed now (0700)", p, mode), nil
}

// owns reports whether Proa gives such a name.
func owns(own []string, name string) bool {
	return atomicfile.IsTemp(name) || slices.ContainsFunc(own, func(pattern string) bool {
		ok, _ := filepath.Match(pattern, name)
		return ok
	})
}
