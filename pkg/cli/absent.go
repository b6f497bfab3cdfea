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
	{"cp, container cp", "files are not copied into and out of containers yet",
		"proa exec CONTAINER tar -C DIR -c FILE | tar -x, the other way: proa exec -i CONTAINER tar -C DIR -x; of a stopped one: proa export CONTAINER | tar -x"},
	{"network", "networks of one's own are not made yet", "the networks that there are: --network bridge, host, none or container:NAME of run and create"},
	{"compose", "Compose files are not read yet", "start each service with proa run -d --name SERVICE --restart unless-stopped"},
	{"events, system events", "events are not recorded yet", "proa wait CONTAINER waits for the end, proa ps -a shows what became of each"},
	{"stats, container stats", "usage is not measured yet", "proa top CONTAINER shows the processes with their time and memory: proa top CONTAINER -o pid,time,rss,args"},
	{"update, container update", "the limits of a container are set once", "proa rm it, and give the limits to proa run or proa create"},
	{"init, container init", "a container is prepared when it starts", "proa start CONTAINER"},
	{"container clone", "containers are not cloned yet", "proa commit CONTAINER NAME, then proa run NAME"},
	{"container cleanup", "a container's monitor cleans up itself when it ends", "nothing is left to do; proa rm CONTAINER removes it"},
	{"container runlabel", "commands in labels of images are not run", "proa image inspect --format '{{json .Config.Labels}}' IMAGE shows them"},
	{"checkpoint, container checkpoint, container restore", "running processes are not saved to disk", "proa commit CONTAINER NAME saves the files, proa pause CONTAINER holds the processes"},
	{"healthcheck", "the container's monitor runs its health check by itself", "proa inspect --format '{{json .State.Health}}' CONTAINER shows the results"},
	{"pod", "pods are not made yet", "proa run --network container:NAME joins the network of another container"},
	{"kube, play", "Kubernetes files are not read yet", "start each container with proa run"},
	{"generate, quadlet", "units and Kubernetes files are not written yet", "a unit of your own whose ExecStart is proa run --rm --name NAME IMAGE"},
	{"auto-update", "containers are not renewed by themselves", "proa pull IMAGE, then proa rm -f and proa run the container"},
	{"secret", "there is no store of secrets", "a file for its owner only: proa run -v $PWD/FILE:/run/secrets/FILE:ro, proa build --secret id=NAME,src=FILE"},
	{"config, node, service, stack, swarm", "there is one machine, and nothing that spreads services over several", "proa run -d --restart unless-stopped"},
	{"context, system connection, system dial-stdio", "there is no daemon to connect to", "run proa on the machine itself, for example over ssh"},
	{"farm, machine", "there are no other and no virtual machines", "run proa on the machine itself, for example over ssh"},
	{"plugin", "drivers of vendors are not supported", "the drivers that there are: proa info"},
	{"trust", "notaries of Docker Content Trust are not asked", "proa image trust says whose signatures are wanted; proa push --sign-by signs"},
	{"system service", "Docker's API is not served yet", "call proa itself"},
	{"system migrate, system renumber", "there is no process and no table of locks that could be out of date", "nothing is left to do: containers that start from now on see the changed settings"},
	{"system reset", "everything goes at once by other commands", "proa rm -af, then proa system prune -af --volumes"},
	{"volume export, volume import", "volumes are not archived yet",
		"proa run --rm -v VOLUME:/v -w /v alpine tar -c . >FILE; the other way: proa run -i --rm -v VOLUME:/v -w /v alpine tar -x <FILE"},
	{"volume mount, volume unmount", "a volume is a directory, there is nothing to mount", "proa volume inspect --format '{{.Mountpoint}}' VOLUME"},
	{"volume reload, volume update", "there are no drivers of volumes but the built-in one", "proa volume ls shows all that there are"},
	{"builder create", "there is no builder to create: each build runs by itself, with every platform and cache", "leave it away: proa build"},
	{"builder rm, builder stop", "there is no builder that runs: a build ends with its command", "nothing is left to do; proa builder prune empties the cache"},
	{"builder du", "single steps are not listed", "proa system df says what the build cache takes, proa builder prune removes it"},
	{"builder bake", "bake files are not read yet", "proa build --target STAGE -t NAME for each target"},
	{"builder imagetools", "it has a command of its own", "proa manifest inspect NAME; to create one: proa manifest create NAME IMAGE..., proa manifest push NAME"},
	{"builder history, builder dap, builder debug", "builds are not recorded", "proa build --debug opens a shell where a step fails"},
	{"builder install, builder uninstall", "proa build is that builder already", "leave it away"},
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
