// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
)

// refusal is about commands of Docker or podman that Proa does not have.
type refusal struct {
	commands string // "network, container cp": separated by ", "
	reason   string // why not, after "... is not supported: "
	hint     string // what to do instead
}

// absent has every such command. One that has subcommands stands for them all.
var absent = []refusal{
	{"cp, container cp", "Proa cannot copy files into and out of containers yet",
		"proa exec CONTAINER tar -C DIR -c FILE | tar -x, the other way: proa exec -i CONTAINER tar -C DIR -x; of a stopped one: proa export CONTAINER | tar -x"},
	{"network", "user-defined networks do not exist yet", "run and create take --network bridge, host, none or container:NAME"},
	{"compose", "Proa cannot read Compose files yet", "start each service with proa run -d --name SERVICE --restart unless-stopped"},
	{"events, system events", "Proa does not record events yet", "proa wait CONTAINER waits for the end, proa ps -a shows what became of each"},
	{"stats, container stats", "Proa does not measure usage yet", "proa top CONTAINER shows the processes with their time and memory: proa top CONTAINER -o pid,time,rss,args"},
	{"update, container update", "the limits of a container are set once", "proa rm it, and give the limits to proa run or proa create"},
	{"init, container init", "a container is prepared when it starts", "proa start CONTAINER"},
	{"container clone", "Proa cannot clone containers yet", "proa commit CONTAINER NAME, then proa run NAME"},
	{"container cleanup", "a container's monitor cleans up itself when it ends", "nothing is left to do; proa rm CONTAINER removes it"},
	{"container runlabel", "Proa runs no commands from labels of images", "proa image inspect --format '{{json .Config.Labels}}' IMAGE shows them"},
	{"checkpoint, container checkpoint, container restore", "Proa cannot save running processes to disk", "proa commit CONTAINER NAME saves the files, proa pause CONTAINER holds the processes"},
	{"healthcheck", "the container's monitor runs its health check by itself", "proa inspect --format '{{json .State.Health}}' CONTAINER shows the results"},
	{"pod", "Proa has no pods yet", "proa run --network container:NAME joins the network of another container"},
	{"kube, play", "Proa cannot read Kubernetes files yet", "start each container with proa run"},
	{"generate, quadlet", "Proa cannot write units and Kubernetes files yet", "write a unit with ExecStart=proa run --rm --name NAME IMAGE"},
	{"auto-update", "Proa does not renew containers by itself", "proa pull IMAGE, then proa rm -f and proa run the container"},
	{"secret", "Proa does not store secrets", "give a file: proa run -v $PWD/FILE:/run/secrets/FILE:ro, proa build --secret id=NAME,src=FILE"},
	{"config, node, service, stack, swarm", "Proa runs containers on one machine only", "proa run -d --restart unless-stopped"},
	{"context, system connection, system dial-stdio", "there is no daemon to connect to", "run proa on the machine itself, for example over ssh"},
	{"farm, machine", "Proa uses no other and no virtual machines", "run proa on the machine itself, for example over ssh"},
	{"plugin", "there are only the built-in drivers", "proa info lists them"},
	{"trust", "Proa does not use Docker Content Trust", "proa image trust sets which signatures are required; proa push --sign-by signs"},
	{"system service", "Proa does not serve Docker's API yet", "call proa itself"},
	{"system migrate, system renumber", "no process and no table of locks can be out of date", "nothing is left to do: containers that start from now on see the changed settings"},
	{"system reset", "other commands do the same", "proa rm -af, then proa system prune -af --volumes"},
	{"volume export, volume import", "Proa cannot archive volumes yet",
		"proa run --rm -v VOLUME:/v -w /v alpine tar -c . >FILE; the other way: proa run -i --rm -v VOLUME:/v -w /v alpine tar -x <FILE"},
	{"volume mount, volume unmount", "a volume is a directory and needs no mount", "proa volume inspect --format '{{.Mountpoint}}' VOLUME"},
	{"volume reload, volume update", "volumes have only the built-in driver", "proa volume ls shows all volumes"},
	{"builder create", "there is no builder to create: each build runs by itself, with every platform and cache", "omit it: proa build"},
	{"builder rm, builder stop", "no builder keeps running: a build ends with its command", "nothing is left to do; proa builder prune empties the cache"},
	{"builder du", "Proa does not list single steps", "proa system df says what the build cache takes, proa builder prune removes it"},
	{"builder bake", "Proa cannot read bake files yet", "proa build --target STAGE -t NAME for each target"},
	{"builder imagetools", "other commands do this", "proa manifest inspect NAME; to create one: proa manifest create NAME IMAGE..., proa manifest push NAME"},
	{"builder history, builder dap, builder debug", "Proa does not record builds", "proa build --debug opens a shell where a step fails"},
	{"builder install, builder uninstall", "proa build is that builder already", "omit it"},
}

// absence is the error for a command that the table knows, nil for others.
// words name it from the root: "container cp".
func absence(words string) error {
	for _, r := range absent {
		for _, c := range strings.Split(r.commands, ", ") {
			if c == words {
				err := &errs.Error{Kind: errs.Unsupported, Err: fmt.Errorf("proa %s is not supported: %s", words, r.reason), Hint: r.hint}
				return &statusError{err, 125}
			}
		}
	}
	return nil
}

// absentBelow lists for the documents what the table has directly below a
// command; the root's words are empty.
func absentBelow(words string) (list []refusal) {
	for _, r := range absent {
		var names []string
		for _, c := range strings.Split(r.commands, ", ") {
			if parent, name, below := cutLast(c); parent == words && (below || words == "") {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			list = append(list, refusal{strings.Join(names, ", "), r.reason, r.hint})
		}
	}
	return list
}

// cutLast splits "container cp" at its last blank; without one the whole is
// the name.
func cutLast(words string) (parent, name string, found bool) {
	i := strings.LastIndexByte(words, ' ')
	return words[:max(i, 0)], words[i+1:], i >= 0
}
