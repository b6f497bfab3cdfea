// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

// peerCommands are the commands of Docker 28 and podman 5, by what they stand
// below. Each is here, or refused with a reason and a way out.
var peerCommands = map[string]string{
	"": "attach auto-update build builder buildx checkpoint commit compose config container context cp create diff events exec export farm generate healthcheck history " +
		"image images import info init inspect kill kube load login logout logs machine manifest mount network node pause play plugin pod port ps pull push quadlet rename " +
		"restart rm rmi run save search secret service stack start stats stop swarm system tag top trust unmount unpause unshare untag update version volume wait artifact",
	"container": "attach checkpoint cleanup clone commit cp create diff exec exists export init inspect kill list logs ls mount pause port prune ps rename restart restore rm run " +
		"runlabel start stats stop top unmount unpause update wait",
	"image":    "build diff exists history import inspect list load ls mount prune pull push rm save scp search sign tag tree trust unmount untag",
	"system":   "check connection df dial-stdio events info migrate prune renumber reset service",
	"volume":   "create exists export import inspect ls mount prune reload rm unmount update",
	"manifest": "add annotate create exists inspect push remove rm",
	"builder":  "bake build create dap debug du history imagetools inspect install ls prune rm stop uninstall use version",
	"artifact": "add extract inspect ls pull push rm",
}

func TestPeerCommands(t *testing.T) {
	for parent, names := range peerCommands {
		cmd := tree()
		if parent != "" {
			cmd = cmd.find(parent)
		}
		for _, n := range strings.Fields(names) {
			words := strings.TrimSpace(parent + " " + n)
			err := absence(words)
			switch here := cmd.find(n) != nil; {
			case here && err != nil:
				t.Errorf("proa %s is there, and in the table of what is not", words)
			case !here && err == nil:
				t.Errorf("proa %s is neither there nor refused", words)
			case err != nil && (!errs.Is(err, errs.Unsupported) || errs.HintOf(err) == ""):
				t.Errorf("proa %s: %v without a way out", words, err)
			}
		}
	}
	var usage *usageError
	if err := unknownCommand(&call{path: []*command{tree()}, words: "proa"}, "nonsense"); !errors.As(err, &usage) {
		t.Errorf("an unknown command: %v", err)
	}
}
