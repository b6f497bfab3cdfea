// SPDX-License-Identifier: Apache-2.0

package files

import (
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// LookupOwner resolves USER[:GROUP] against the image's /etc/passwd and
// /etc/group. Names must exist there; numbers need no entry.
func LookupOwner(r *Root, spec string) (Owner, error) {
	if spec == "" {
		return Owner{}, nil
	}
	passwd, closeP := openInRoot(r, "/etc/passwd")
	defer closeP()
	group, closeG := openInRoot(r, "/etc/group")
	defer closeG()
	name, grp, hasGroup := strings.Cut(spec, ":")
	own := Owner{}
	if uid, err := strconv.Atoi(name); err == nil {
		if err := checkID(uid); err != nil {
			return own, err
		}
		own.UID, own.GID = uid, uid
	} else {
		u, err := findUser(passwd, name)
		if err != nil {
			return own, err
		}
		own = Owner{u.Uid, u.Gid}
	}
	if !hasGroup {
		return own, nil
	}
	if gid, err := strconv.Atoi(grp); err == nil {
		own.GID = gid
		return own, checkID(gid)
	}
	g, err := findGroup(group, grp)
	if err != nil {
		return own, err
	}
	own.GID = g.Gid
	return own, nil
}

// checkID refuses what the kernel would cut to 32 bits, and so take for another id:
// 2^32 for root, and 2^32-1 for "leave the owner as it is".
func checkID(id int) error {
	if id < 0 || id >= math.MaxUint32 {
		return errs.New(errs.Invalid, "invalid owner %d: ids are numbers from 0 to 4294967294", id)
	}
	return nil
}

func findUser(f *os.File, name string) (user.User, error) {
	if f != nil {
		us, err := user.ParsePasswdFilter(f, func(u user.User) bool { return u.Name == name })
		if err == nil && len(us) > 0 {
			return us[0], nil
		}
	}
	return user.User{}, errs.New(errs.NotFound, "unable to convert uid/gid chown string to host mapping: can't find uid for user %s: no such user: %s", name, name)
}

func findGroup(f *os.File, name string) (user.Group, error) {
	if f != nil {
		gs, err := user.ParseGroupFilter(f, func(g user.Group) bool { return g.Name == name })
		if err == nil && len(gs) > 0 {
			return gs[0], nil
		}
	}
	return user.Group{}, errs.New(errs.NotFound, "unable to convert uid/gid chown string to host mapping: can't find gid for group %s: no such group: %s", name, name)
}

func openInRoot(r *Root, name string) (*os.File, func()) {
	fd, err := r.Open(name, unix.O_RDONLY)
	if err != nil {
		return nil, func() {}
	}
	f := os.NewFile(uintptr(fd), name)
	return f, func() { f.Close() }
}
