// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"slices"
	"strings"
)

// Option is one word that a flag understands, with what it does: for refusals, the
// manual and completion. A name that ends in "=" wants a value.
type Option struct {
	Name, About string
	also        []string // other spellings
}

// optionNames lists the words for a hint.
func optionNames(list []Option) string {
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.Name
	}
	return strings.Join(names, ", ")
}

// VolumeOptions are those behind the target of -v, separated by commas.
var VolumeOptions = []Option{
	{Name: "ro", About: "Read-only"},
	{Name: "rw", About: "Writable; the default"},
	{Name: "U", About: "Give the files to the user of the container: their owner is changed on the host, in the whole directory, before the start"},
	{Name: "z", About: "For SELinux: shared with other containers. Accepted without effect: Proa sets no labels"},
	{Name: "Z", About: "For SELinux: for this container alone. Accepted without effect: Proa sets no labels"},
	{Name: "nocopy", About: "Do not fill a new volume with the files that the image has there"},
	{Name: "bind", About: "Leave out what is mounted below the host directory"},
	{Name: "rbind", About: "Take along what is mounted below the host directory; the default"},
	{Name: "noexec", About: "No program on it can be executed"},
	{Name: "nosuid", About: "Programs on it do not change the user"},
	{Name: "nodev", About: "Device files on it cannot be used"},
	{Name: "noatime", About: "Reading does not change access times"},
	{Name: "rprivate", About: "Later mounts on either side stay there; the default"},
	{Name: "private", About: "As rprivate, without the mounts below"},
	{Name: "rslave", About: "Later mounts of the host below the directory show in the container"},
	{Name: "slave", About: "As rslave, without the mounts below"},
	{Name: "rshared", About: "Later mounts on either side show on the other"},
	{Name: "shared", About: "As rshared, without the mounts below"},
}

// MountFields are those of --mount, separated by commas.
var MountFields = []Option{
	{Name: "type=", About: "bind, volume (the default) or tmpfs"},
	{Name: "source=", About: "The host directory or file, or the name of the volume", also: []string{"src"}},
	{Name: "target=", About: "Where it is in the container", also: []string{"destination", "dst"}},
	{Name: "readonly", About: "Read-only", also: []string{"ro"}},
	{Name: "rw", About: "Writable; the default"},
	{Name: "chown", About: "As U in -v", also: []string{"u"}},
	{Name: "relabel=", About: "shared or private: as z and Z in -v"},
	{Name: "consistency=", About: "For Docker Desktop; without effect"},
	{Name: "bind-propagation=", About: "Which side sees later mounts: rprivate (the default), private, rslave, slave, rshared or shared"},
	{Name: "bind-nonrecursive", About: "Leave out what is mounted below the source"},
	{Name: "bind-recursive=", About: "enabled (the default), disabled, writable, or readonly: what is mounted below the source, too"},
	{Name: "bind-create-src", About: "Make the source where it is missing"},
	{Name: "volume-nocopy", About: "Do not fill a new volume with the files that the image has there"},
	{Name: "volume-subpath=", About: "Mount this directory of the volume only"},
	{Name: "volume-label=", About: "A label for a new volume"},
	{Name: "volume-driver=", About: "The driver of a new volume"},
	{Name: "volume-opt=", About: "An option for the driver of a new volume"},
	{Name: "tmpfs-size=", About: "How much fits, such as 64m"},
	{Name: "tmpfs-mode=", About: "Permissions in octal, such as 1777"},
}

func knownMountKey(key string) bool {
	return slices.ContainsFunc(MountFields, func(o Option) bool {
		return strings.TrimSuffix(o.Name, "=") == key || slices.Contains(o.also, key)
	})
}
