// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"strings"

	"github.com/proa-containers/proa/pkg/spec"
)

// The filters of all listings. An object must match every filter. Of several values for
// one filter it needs to match one; of several labels, all.

var (
	truth            = []string{"true", "false"}
	containerStates  = []string{"created", "restarting", "running", "removing", "paused", "exited", "dead"}
	healthWords      = []string{"starting", "healthy", "unhealthy", "none"}
	labelFilter      = spec.Option{Name: "label", Arg: "KEY[=VALUE]", About: "It has the label"}
	otherLabelFilter = spec.Option{Name: "label!", Arg: "KEY[=VALUE]", About: "It does not have the label"}
	untilFilter      = spec.Option{Name: "until", Arg: "TIME", About: "It was created before TIME: a date, seconds since 1970, or an age such as 24h"}
)

// ContainerFilters are the filters of containers.
var ContainerFilters = []spec.Option{
	{Name: "ancestor", Arg: "IMAGE", About: "It was made from the image, or from one that is based on it"},
	{Name: "before", Arg: "CONTAINER", About: "It was created before the named one"},
	{Name: "exited", Arg: "STATUS", About: "It exited with the status"},
	{Name: "expose", Arg: "PORT[-LAST][/PROTOCOL]", About: "It exposes the port"},
	{Name: "health", Arg: "WORD", Values: healthWords, About: "Its health is starting, healthy, unhealthy or none"},
	{Name: "id", Arg: "ID", About: "Its id begins with ID"},
	{Name: "is-task", Arg: "false", Values: truth, About: "It belongs to a task of a swarm, which never holds here"},
	labelFilter, otherLabelFilter,
	{Name: "name", Arg: "REGEXP", About: "A part of its name matches the expression"},
	{Name: "network", Arg: "NETWORK", About: "It is on the network"},
	{Name: "publish", Arg: "PORT[-LAST][/PROTOCOL]", About: "It publishes the port"},
	{Name: "since", Arg: "CONTAINER", About: "It was created after the named one"},
	{Name: "status", Arg: "STATE", Values: containerStates, About: "Its state is " + choice(containerStates)},
	untilFilter,
	{Name: "volume", Arg: "VOLUME|PATH", About: "It mounts the volume or the directory"},
}

// ImageFilters are the filters of images.
var ImageFilters = []spec.Option{
	{Name: "after", Arg: "IMAGE", About: "It was created after the named one"},
	{Name: "before", Arg: "IMAGE", About: "It was created before the named one"},
	{Name: "containers", Arg: "true|false", Values: truth, About: "Containers were made from it"},
	{Name: "dangling", Arg: "true|false", Values: truth, About: "It has no name"},
	{Name: "digest", Arg: "DIGEST", About: "It has the digest"},
	{Name: "id", Arg: "ID", About: "Its id begins with ID"},
	{Name: "intermediate", Arg: "true|false", Values: truth, About: "It has no name, and others are based on it"},
	labelFilter, otherLabelFilter,
	{Name: "manifest", Arg: "true|false", Values: truth, About: "It is a list of images for several platforms"},
	{Name: "readonly", Arg: "true|false", Values: truth, About: "It is in a read-only store, which never holds here"},
	{Name: "reference", Arg: "PATTERN", About: "One of its names matches the pattern"},
	{Name: "since", Arg: "IMAGE", About: "As after"},
	untilFilter,
}

// VolumeFilters are the filters of volumes.
var VolumeFilters = []spec.Option{
	{Name: "dangling", Arg: "true|false", Values: truth, About: "No container uses it"},
	{Name: "driver", Arg: "NAME", About: "It uses the driver"},
	labelFilter, otherLabelFilter,
	{Name: "name", Arg: "TEXT", About: "Its name contains the text"},
	{Name: "opt", Arg: "KEY[=VALUE]", About: "It was made with this option for its driver"},
	{Name: "scope", Arg: "local", Values: []string{"local"}, About: "It has the scope: all volumes are local"},
	untilFilter,
}

// choice joins words for a sentence: "a, b or c".
func choice(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
