// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// Attempt is a process that could not be started. It is looked at after the
// failure only: a start that works pays nothing for it.
type Attempt struct {
	Finder
	Name string // of the program, args[0]
	Path string // the variable
	Dir  string // working directory
	User Identity
	// Override: it may pass permissions of files (CAP_DAC_OVERRIDE).
	Override bool
	// UIDs and GIDs map the ids of a user namespace of the container's own to
	// those that files are seen with here; empty: they are the same.
	UIDs, GIDs []configs.IDMap
	// InDir is the sentence's kind for a working directory that does not exist.
	InDir errs.Kind
}

// Explain says why the program cannot be run, or returns nil where nothing is
// wrong with it. The sentences are Docker's where it has some.
func (a *Attempt) Explain() error {
	if err := a.explainDir(); err != nil {
		return err
	}
	if a.Name == "" {
		return commandError(errs.CommandMissing, `exec: "": executable file not found in $PATH`)
	}
	_, _, err := a.find()
	return err
}

// explainDir says what is wrong with the working directory. One that the user may
// not enter is no reason: the runtime enters it before it becomes the user.
func (a *Attempt) explainDir() error {
	if a.unseen(a.Dir) {
		return nil
	}
	file, err := a.Stat(a.Dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errs.WithHint(errs.New(a.InDir, "the working directory %q does not exist in the container", a.Dir),
			"name another one with --workdir, or create it in the container: mkdir -p %s", a.Dir)
	case errors.Is(err, unix.ENOTDIR), err == nil && !file.Mode.IsDir():
		return errs.WithHint(errs.New(errs.CannotInvoke, "the working directory %q is not a directory", a.Dir),
			"name a directory with --workdir")
	}
	return nil
}

// find looks for the program as the runtime does: where it lies, and what it is.
func (a *Attempt) find() (p string, file File, err error) {
	if strings.Contains(a.Name, "/") {
		p := a.absolute(a.Name)
		file, closed, err := a.reach(p)
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR):
			return p, file, commandError(errs.CommandMissing, `exec: "`+a.Name+`": stat `+a.Name+`: no such file or directory`)
		case errors.Is(err, unix.ELOOP):
			return p, file, commandError(errs.CannotInvoke, `exec: "`+a.Name+`": too many levels of symbolic links`)
		case err != nil:
			return p, file, nil
		}
		return p, file, a.explainFile(file, closed)
	}
	var found error
	for _, d := range filepath.SplitList(a.Path) {
		if d == "" {
			d = "."
		}
		p := path.Join(a.absolute(d), a.Name)
		file, closed, err := a.reach(p)
		if err != nil {
			continue
		}
		e := a.explainFile(file, closed)
		if e == nil {
			return p, file, nil
		}
		// A directory of that name is passed over, as a shell does it.
		if !file.Mode.IsDir() {
			found = e
		}
	}
	if found == nil {
		found = commandError(errs.CommandMissing, `exec: "`+a.Name+`": executable file not found in $PATH`)
	}
	return "", File{}, found
}

func (a *Attempt) absolute(p string) string {
	if path.IsAbs(p) {
		return p
	}
	return path.Join(a.Dir, p)
}

// reach looks at p, and returns the first directory on the way that the user may
// not enter; "" where there is none.
func (a *Attempt) reach(p string) (file File, closed string, err error) {
	p = path.Clean("/" + p)
	for d, rest := "/", strings.TrimPrefix(p, "/"); rest != ""; {
		dir, err := a.Stat(d)
		if err == nil && closed == "" && dir.Mode.IsDir() && !a.may(dir) {
			closed = d
		}
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		d = path.Join(d, name)
	}
	file, err = a.Stat(p)
	return file, closed, err
}

func (a *Attempt) explainFile(file File, closed string) error {
	denied := commandError(errs.CannotInvoke, `exec: "`+a.Name+`": permission denied`)
	switch {
	case closed != "":
		return errs.WithHint(denied, "%s", a.closedHint(closed))
	case file.Mode.IsDir():
		return commandError(errs.CannotInvoke, `exec: "`+a.Name+`": is a directory`)
	case file.Mode.Perm()&0o111 == 0, !file.Mode.IsRegular():
		return denied
	case file.NoExec:
		return errs.WithHint(denied, "the file system that it lies on is mounted noexec: mount it with exec, or name the file to its interpreter")
	case !a.may(file):
		return errs.WithHint(denied, "user %d may not run it: its mode is %04o, its owner %s", a.User.UID, file.Mode.Perm(), a.owner(file))
	}
	return nil
}

func (a *Attempt) closedHint(dir string) string {
	file, err := a.Stat(dir)
	if err != nil {
		return fmt.Sprintf("user %d may not enter %s", a.User.UID, dir)
	}
	return fmt.Sprintf("user %d may not enter %s: its mode is %04o, its owner %s", a.User.UID, dir, file.Mode.Perm(), a.owner(file))
}

// owner is a file's owner as the container sees it.
func (a *Attempt) owner(f File) string {
	uid, ok := inside(a.UIDs, f.UID)
	if !ok {
		return "an id that the container does not have"
	}
	return fmt.Sprint(uid)
}

// may reports whether the user may execute f, or enter it, by its mode.
func (a *Attempt) may(f File) bool {
	uid, uidOK := inside(a.UIDs, f.UID)
	gid, gidOK := inside(a.GIDs, f.GID)
	perm := f.Mode.Perm()
	if a.Override && uidOK && gidOK && f.UID != overflow && f.GID != overflow {
		return f.Mode.IsDir() || perm&0o111 != 0
	}
	switch {
	case uidOK && uid == int64(a.User.UID):
		return perm&0o100 != 0
	case gidOK && (gid == int64(a.User.GID) || slices.Contains(a.User.Groups, int(gid))):
		return perm&0o010 != 0
	}
	return perm&0o001 != 0
}

// overflow is what the kernel shows for an id that a user namespace lacks.
const overflow = 65534

// inside is the id in the container of one that is seen here.
func inside(maps []configs.IDMap, id uint32) (int64, bool) {
	if len(maps) == 0 {
		return int64(id), true
	}
	for _, m := range maps {
		if n := int64(id) - m.HostID; n >= 0 && n < m.Size {
			return m.ContainerID + n, true
		}
	}
	return 0, false
}

func commandError(kind errs.Kind, sentence string) error {
	return &errs.Error{Kind: kind, Err: errors.New(sentence)}
}
