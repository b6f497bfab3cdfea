// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/proa-containers/proa/network/ipam"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// peerStatus is the part of a monitor's status.json that concerns networks.
type peerStatus struct {
	MonitorPID int             `json:"monitorPid"`
	NetnsFD    int             `json:"netnsFd"`
	Attachment spec.Attachment `json:"attachment"`
}

func readPeer(runDir string) (peerStatus, error) {
	var st peerStatus
	data, err := os.ReadFile(filepath.Join(runDir, "status.json"))
	if err == nil {
		err = json.Unmarshal(data, &st)
	}
	if err != nil || !ipam.Alive(runDir) {
		return st, errs.WithHint(&errs.Error{Kind: errs.State, Op: "join the network of a container that is not running", Err: err},
			"start that container first")
	}
	return st, nil
}

// container shares what the other one has; the ports stay the other's.
func (a *Attached) container(plan spec.NetworkPlan) error {
	st, err := readPeer(plan.JoinRunDir)
	if err != nil {
		return err
	}
	a.att = st.Attachment
	a.att.Shared = st.Attachment.OwnMode()
	a.att.Mode = spec.NetContainer
	a.att.Ports = nil
	return nil
}
