// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/monitor"
)

// MountMap is where a path of the container really lies, for Finder.
func MountMap(c *configs.Config, volumes []monitor.VolumeMount) map[string]Place {
	m := make(map[string]Place, len(c.Mounts))
	for _, x := range c.Mounts {
		if x.Device == "bind" {
			m[x.Destination] = Place{Dir: x.Source, NoExec: x.Flags&unix.MS_NOEXEC != 0}
		} else {
			m[x.Destination] = Place{}
		}
	}
	for _, v := range volumes {
		if v.Subpath != "" {
			at := path.Clean(v.Target)
			m[at] = Place{Dir: v.HostPath, Sub: v.Subpath, NoExec: m[at].NoExec}
		}
	}
	return m
}

// ClosedMount is a directory of the caller's that is mounted for writing, and that
// the container's user may not write to; "" where there is none. It is asked after
// a failure only.
func ClosedMount(cfg *monitor.Config, id Identity) string {
	if id.UID == 0 || len(cfg.Container.UIDMappings) > 0 || os.Geteuid() != 0 || cfg.Account != nil {
		return ""
	}
	for _, m := range cfg.Container.Mounts {
		if m.Device != "bind" || m.Flags&unix.MS_RDONLY != 0 || cfg.Files.Dir != "" && strings.HasPrefix(m.Source, cfg.Files.Dir+"/") {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(m.Source, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 || st.Mode&0o002 != 0 {
			continue // root of the user's namespace is the user
		}
		if st.Mode&0o020 != 0 && (int(st.Gid) == id.GID || slices.Contains(id.Groups, int(st.Gid))) {
			continue
		}
		if !slices.ContainsFunc(cfg.Volumes, func(v monitor.VolumeMount) bool { return v.Dir != "" && v.Target == m.Destination }) {
			return m.Destination
		}
	}
	return ""
}
