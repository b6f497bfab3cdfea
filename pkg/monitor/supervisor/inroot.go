// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// Whatever lies in an image or was written by a container is hostile: a
// symbolic link in it must not lead this process, which is root in its
// namespace, out of the container's root. Every look-up below resolves links
// inside the root.

// openIn opens name in the root for reading; it must be a regular file.
func openIn(root *os.File, name string) (*os.File, error) {
	h, err := pathrs.OpenatInRoot(root, name)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errs.New(errs.Invalid, "%s is not a regular file", name)
	}
	return pathrs.Reopen(h, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY)
}

func openRoot(p string) (*os.File, error) {
	return os.OpenFile(p, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// identity is the user that a process runs as.
type identity struct {
	uid, gid int
	groups   []int
	home     string
}

// resolveUser finds who spec ("name|uid[:group|gid]") is in the root's own
// passwd and group files. The sentences are those of Docker.
func resolveUser(root *os.File, who string, additional []string) (identity, error) {
	if who == "" {
		who = "0"
	}
	passwd := readerIn(root, "/etc/passwd")
	group := readerIn(root, "/etc/group")
	defer passwd.Close()
	defer group.Close()
	u, err := user.GetExecUser(who, &user.ExecUser{Home: "/"}, passwd, group)
	if err != nil {
		return identity{}, &errs.Error{Kind: errs.Invalid, Err: err}
	}
	id := identity{uid: u.Uid, gid: u.Gid, groups: u.Sgids, home: u.Home}
	if len(additional) > 0 {
		again := readerIn(root, "/etc/group")
		defer again.Close()
		gids, err := user.GetAdditionalGroups(additional, again)
		if err != nil {
			return identity{}, &errs.Error{Kind: errs.Invalid, Err: err}
		}
		id.groups = append(id.groups, gids...)
	}
	// Without its own group among the supplementary ones a process could lose
	// a restriction by changing its gid (CVE-2022-36109).
	if !slices.Contains(id.groups, id.gid) {
		id.groups = append([]int{id.gid}, id.groups...)
	}
	if id.home == "" {
		id.home = "/"
	}
	return id, nil
}

// checkMapped refuses ids that the container's user namespace does not have:
// libcontainer would stumble over them with "invalid argument".
func (id identity) checkMapped(c *configs.Config) error {
	if id.uid == 0 && id.gid == 0 {
		return nil
	}
	uids, gids := idRanges("/proc/self/uid_map"), idRanges("/proc/self/gid_map")
	if len(c.UIDMappings) > 0 {
		uids, gids = c.UIDMappings, c.GIDMappings
	}
	for _, x := range []struct {
		what string
		id   int
		maps []configs.IDMap
	}{{"uid", id.uid, uids}, {"gid", id.gid, gids}} {
		if !contains(x.maps, int64(x.id)) {
			return errs.WithHint(errs.New(errs.Unsupported, "cannot run a process with %s %d: the user namespace has no such id", x.what, x.id),
				"ask the administrator for a larger range: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER")
		}
	}
	return nil
}

func contains(maps []configs.IDMap, id int64) bool {
	for _, m := range maps {
		if id >= m.ContainerID && id < m.ContainerID+m.Size {
			return true
		}
	}
	return false
}

// idRanges reads a uid_map or gid_map.
func idRanges(name string) []configs.IDMap {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	var maps []configs.IDMap
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		var n [3]int64
		for i := range f {
			n[i], _ = strconv.ParseInt(f[i], 10, 64)
		}
		maps = append(maps, configs.IDMap{ContainerID: n[0], HostID: n[1], Size: n[2]})
	}
	return maps
}

// readerIn is a file's content, and nothing for a file that is not there: many
// images have no passwd.
func readerIn(root *os.File, name string) io.ReadCloser {
	f, err := openIn(root, name)
	if err != nil {
		return io.NopCloser(strings.NewReader(""))
	}
	return f
}

// defaultPath is Docker's PATH for images that set none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environ adds what Docker adds where env does not say otherwise.
func environ(env []string, home, hostname string, tty bool) []string {
	has := make(map[string]bool, len(env))
	for _, kv := range env {
		k, _, _ := strings.Cut(kv, "=")
		has[k] = true
	}
	out := make([]string, 0, len(env)+4)
	add := func(k, v string) {
		if !has[k] && v != "" {
			out = append(out, k+"="+v)
		}
	}
	add("PATH", defaultPath)
	add("HOSTNAME", hostname)
	if tty {
		add("TERM", "xterm")
	}
	out = append(out, env...)
	add("HOME", home)
	return out
}

func getenv(env []string, key string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(env[i], "="); ok && k == key {
			return v
		}
	}
	return ""
}

// finder looks a path up as the container will see it: in the root, or in what
// is mounted over a part of it.
type finder struct {
	root   *os.File
	mounts map[string]place // by directory of the container
}

// place is what is mounted: the file dir or, links resolved below it, a part of
// it. Without dir it hides what the root has.
type place struct{ dir, sub string }

// stat returns the mode of an absolute container path.
func (f finder) stat(p string) (os.FileMode, error) {
	p = path.Clean("/" + p)
	for dir := p; ; dir = path.Dir(dir) {
		if src, ok := f.mounts[dir]; ok {
			return src.stat(strings.TrimPrefix(p, dir))
		}
		if dir == "/" {
			break
		}
	}
	h, err := pathrs.OpenatInRoot(f.root, p)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return 0, err
	}
	return st.Mode(), nil
}

func (p place) stat(rest string) (os.FileMode, error) {
	rest = path.Join(p.sub, rest)
	if p.dir == "" {
		return 0, os.ErrNotExist
	}
	if rest == "" {
		st, err := os.Stat(p.dir)
		if err != nil {
			return 0, err
		}
		return st.Mode(), nil
	}
	h, err := pathrs.OpenInRoot(p.dir, rest)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return 0, err
	}
	return st.Mode(), nil
}

// explainCommand says why name cannot be run, or returns nil where nothing is
// wrong with it. It is asked after a failed start only: a start that works
// pays nothing for it.
func explainCommand(f finder, name, pathVar, dir string) error {
	if name == "" {
		return commandError(errs.CommandMissing, `exec: "": executable file not found in $PATH`)
	}
	if strings.Contains(name, "/") {
		p := name
		if !path.IsAbs(p) {
			p = path.Join(dir, p)
		}
		mode, err := f.stat(p)
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR):
			return commandError(errs.CommandMissing, `exec: "`+name+`": stat `+name+`: no such file or directory`)
		case err != nil:
			return nil
		}
		return explainMode(name, mode)
	}
	var found error
	for _, d := range filepath.SplitList(pathVar) {
		if d == "" {
			d = "."
		}
		if !path.IsAbs(d) {
			d = path.Join(dir, d)
		}
		mode, err := f.stat(path.Join(d, name))
		if err != nil {
			continue
		}
		e := explainMode(name, mode)
		if e == nil {
			return nil
		}
		// A directory of that name is passed over, as a shell does it.
		if !mode.IsDir() {
			found = e
		}
	}
	if found != nil {
		return found
	}
	return commandError(errs.CommandMissing, `exec: "`+name+`": executable file not found in $PATH`)
}

func explainMode(name string, mode os.FileMode) error {
	switch {
	case mode.IsDir():
		return commandError(errs.CannotInvoke, `exec: "`+name+`": is a directory`)
	case mode.Perm()&0o111 == 0, !mode.IsRegular():
		return commandError(errs.CannotInvoke, `exec: "`+name+`": permission denied`)
	}
	return nil
}

func commandError(kind errs.Kind, sentence string) error {
	return &errs.Error{Kind: kind, Err: errors.New(sentence)}
}

// ensureDir creates a missing working directory, owned by root as Docker does
// it. Directories that a mount brings are none of its business.
func ensureDir(f finder, dir string) error {
	if dir == "" || dir == "/" {
		return nil
	}
	mode, err := f.stat(dir)
	switch {
	case err == nil && mode.IsDir():
		return nil
	case err == nil, errors.Is(err, unix.ENOTDIR):
		return errs.New(errs.Invalid, "Cannot mkdir: %s is not a directory", dir)
	case !errors.Is(err, os.ErrNotExist):
		return errs.Wrap(err, "look at the working directory", dir)
	}
	for d := path.Clean(dir); d != "/"; d = path.Dir(d) {
		if _, ok := f.mounts[d]; ok {
			return nil // libcontainer's business once the mount is there
		}
	}
	h, err := pathrs.MkdirAllHandle(f.root, path.Clean(dir), 0o755)
	if err != nil {
		return errs.Wrap(err, "create the working directory", dir)
	}
	return h.Close()
}
