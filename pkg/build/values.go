// SPDX-License-Identifier: Apache-2.0

package build

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// exposedPorts reads one word of EXPOSE: 80, 80/udp, 8000-8010/tcp.
func exposedPorts(word string) ([]string, error) {
	bad := errs.New(errs.Invalid, "invalid containerPort: %s", word)
	rng, proto, ok := strings.Cut(word, "/")
	proto = strings.ToLower(proto)
	if !ok {
		proto = "tcp"
	}
	if proto != "tcp" && proto != "udp" && proto != "sctp" {
		return nil, bad
	}
	// host:container is tolerated, as in Docker.
	if i := strings.LastIndexByte(rng, ':'); i >= 0 {
		rng = rng[i+1:]
	}
	lo, hi, isRange := strings.Cut(rng, "-")
	first, err := strconv.ParseUint(lo, 10, 16)
	if err != nil || first == 0 {
		return nil, bad
	}
	last := first
	if isRange {
		if last, err = strconv.ParseUint(hi, 10, 16); err != nil || last < first {
			return nil, bad
		}
	}
	var out []string
	for p := first; p <= last; p++ {
		out = append(out, fmt.Sprintf("%d/%s", p, proto))
	}
	return out, nil
}

// lookupOwner resolves USER[:GROUP] against the image's /etc/passwd and
// /etc/group. Names must exist there; numbers need no entry.
func lookupOwner(r *root, spec string) (owner, error) {
	if spec == "" {
		return owner{}, nil
	}
	passwd, closeP := openInRoot(r, "/etc/passwd")
	defer closeP()
	group, closeG := openInRoot(r, "/etc/group")
	defer closeG()
	name, grp, hasGroup := strings.Cut(spec, ":")
	own := owner{}
	if uid, err := strconv.Atoi(name); err == nil {
		own.uid, own.gid = uid, uid
	} else {
		u, err := findUser(passwd, name)
		if err != nil {
			return own, err
		}
		own = owner{u.Uid, u.Gid}
	}
	if !hasGroup {
		return own, nil
	}
	if gid, err := strconv.Atoi(grp); err == nil {
		own.gid = gid
		return own, nil
	}
	g, err := findGroup(group, grp)
	if err != nil {
		return own, err
	}
	own.gid = g.Gid
	return own, nil
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

func openInRoot(r *root, name string) (*os.File, func()) {
	fd, err := r.open(name, unix.O_RDONLY)
	if err != nil {
		return nil, func() {}
	}
	f := os.NewFile(uintptr(fd), name)
	return f, func() { f.Close() }
}

func closeFD(fd int) error { return unix.Close(fd) }
