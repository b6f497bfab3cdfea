// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"slices"
	"strings"
)

// Option is one word that a flag understands. The program checks against lists of
// these, and refusals, the manual and completion print them.
type Option struct {
	Name   string
	Arg    string // what stands behind "=" ("TIME"); empty: nothing
	About  string
	Values []string // what Arg can be, where that is a choice
	also   []string // other spellings of Name
}

// HasOption reports whether name is one of the list.
func HasOption(list []Option, name string) bool {
	return slices.ContainsFunc(list, func(o Option) bool { return o.Name == name || slices.Contains(o.also, name) })
}

// OptionNames lists the names for a sentence: "ro, rw, U".
func OptionNames(list []Option) string {
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.Name
	}
	return strings.Join(names, ", ")
}

// UnknownFilter is the error for a filter that is not in the list.
func UnknownFilter(name string, list []Option) error {
	return invalid("filters are "+OptionNames(list), "invalid filter '%s'", name)
}

// SomeOptions picks the options with these names from the list.
func SomeOptions(list []Option, names ...string) []Option {
	var some []Option
	for _, o := range list {
		if slices.Contains(names, o.Name) {
			some = append(some, o)
		}
	}
	return some
}

var propagations = []string{"rprivate", "private", "rslave", "slave", "rshared", "shared"}

// VolumeOptions are those behind the target of -v, separated by commas.
var VolumeOptions = []Option{
	{Name: "ro", About: "Read-only"},
	{Name: "rw", About: "Writable; the default"},
	{Name: "U", About: "Give the files to the user of the container: before the start, the owner of everything in the " +
		"directory is changed, on the host"},
	{Name: "z", About: "For SELinux: shared with other containers. Accepted without effect: Proa sets no labels"},
	{Name: "Z", About: "For SELinux: for this container alone. Accepted without effect: Proa sets no labels"},
	{Name: "nocopy", About: "Do not fill a new volume with the files that the image has there"},
	{Name: "bind", About: "Do not mount what is mounted below the host directory"},
	{Name: "rbind", About: "Mount what is mounted below the host directory, too; the default"},
	{Name: "noexec", About: "Programs on it cannot be executed"},
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
	{Name: "type", Arg: "TYPE", Values: []string{"bind", "volume", "tmpfs"},
		About: "What to mount: bind, volume (the default) or tmpfs"},
	{Name: "source", Arg: "SOURCE", About: "The host directory or file, or the name of the volume", also: []string{"src"}},
	{Name: "target", Arg: "PATH", About: "The path in the container", also: []string{"destination", "dst"}},
	{Name: "readonly", About: "Read-only", also: []string{"ro"}},
	{Name: "rw", About: "Writable; the default"},
	{Name: "chown", About: "As U in -v", also: []string{"u"}},
	{Name: "relabel", Arg: "shared|private", Values: []string{"shared", "private"}, About: "As z and Z in -v"},
	{Name: "consistency", Arg: "WORD", About: "For Docker Desktop; without effect"},
	{Name: "bind-propagation", Arg: "WORD", Values: propagations, About: "Which side sees later mounts: the words mean what they mean in -v"},
	{Name: "bind-nonrecursive", About: "Do not mount what is mounted below the source"},
	{Name: "bind-recursive", Arg: "WORD", Values: []string{"enabled", "disabled", "writable", "readonly"},
		About: "enabled (the default), disabled, writable, or readonly: what is mounted below the source, too"},
	{Name: "bind-create-src", About: "Create the source if it is missing"},
	{Name: "volume-nocopy", About: "Do not fill a new volume with the files that the image has there"},
	{Name: "volume-subpath", Arg: "PATH", About: "Mount this directory of the volume only"},
	{Name: "volume-label", Arg: "KEY=VALUE", About: "A label for a new volume"},
	{Name: "volume-driver", Arg: "NAME", About: "The driver of a new volume"},
	{Name: "volume-opt", Arg: "KEY=VALUE", About: "An option for the driver of a new volume"},
	{Name: "tmpfs-size", Arg: "SIZE", About: "Maximum size, such as 64m"},
	{Name: "tmpfs-mode", Arg: "MODE", About: "Permissions in octal, such as 1777"},
}

func knownMountKey(key string) bool { return HasOption(MountFields, key) }
