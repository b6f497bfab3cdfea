// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/subid"
)

// Identity is the user that a process runs as.
type Identity struct {
	UID, GID int
	Groups   []int
	Home     string
}

// ResolveUser finds who spec ("name|uid[:group|gid]") is in the root's own
// passwd and group files. The sentences are those of Docker.
func ResolveUser(root *os.File, who string, additional []string) (Identity, error) {
	if who == "" {
		who = "0"
	}
	passwd := readerIn(root, "/etc/passwd")
	group := readerIn(root, "/etc/group")
	defer passwd.Close()
	defer group.Close()
	u, err := user.GetExecUser(who, &user.ExecUser{Home: "/"}, passwd, group)
	if err != nil {
		return Identity{}, &errs.Error{Kind: errs.Invalid, Err: err}
	}
	id := Identity{UID: u.Uid, GID: u.Gid, Groups: u.Sgids, Home: u.Home}
	if len(additional) > 0 {
		again := readerIn(root, "/etc/group")
		defer again.Close()
		gids, err := user.GetAdditionalGroups(additional, again)
		if err != nil {
			return Identity{}, &errs.Error{Kind: errs.Invalid, Err: err}
		}
		id.Groups = append(id.Groups, gids...)
	}
	// Without its own group among the supplementary ones a process could lose
	// a restriction by changing its gid (CVE-2022-36109).
	if !slices.Contains(id.Groups, id.GID) {
		id.Groups = append([]int{id.GID}, id.Groups...)
	}
	if id.Home == "" {
		id.Home = "/"
	}
	return id, nil
}

// CheckMapped refuses ids that the container's user namespace does not have:
// libcontainer would stumble over them with "invalid argument".
func (id Identity) CheckMapped(c *configs.Config) error {
	if id.UID == 0 && id.GID == 0 {
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
	}{{"uid", id.UID, uids}, {"gid", id.GID, gids}} {
		if !contains(x.maps, int64(x.id)) {
			return errs.WithHint(errs.New(errs.Unsupported, "cannot run a process with %s %d: the user namespace has no such id", x.what, x.id),
				"%s", subid.HintFor(below(x.maps), int64(x.id)))
		}
	}
	return nil
}

// below is the number of ids from 0 on.
func below(maps []configs.IDMap) (n int64) {
	for _, m := range maps {
		n = max(n, m.ContainerID+m.Size)
	}
	return n
}

// Seen are the ids with which files of the user are seen here, outside of a user
// namespace of the container's own.
func (id Identity) Seen(c *configs.Config) (uid, gid int) {
	return outside(c.UIDMappings, id.UID), outside(c.GIDMappings, id.GID)
}

func outside(maps []configs.IDMap, id int) int {
	for _, m := range maps {
		if n := int64(id) - m.ContainerID; n >= 0 && n < m.Size {
			return int(m.HostID + n)
		}
	}
	return id
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
